"""What is wrong with a pod, in words: its status in, category, summary and remedy out. Pure.

Source of the reasons: ``pkg/kubelet/images/types.go``, ``pkg/kubelet/events/event.go`` and the scheduler of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Category = Literal[
    "ok",
    "starting",
    "image-missing",
    "image-denied",
    "image-name",
    "image-pull",
    "configuration",
    "out-of-memory",
    "crashed",
    "not-ready",
    "unschedulable",
    "volume",
    "quota",
    "pod-security",
    "evicted",
    "node-lost",
    "deadline",
    "failed",
]


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a pod.

    Args:
        category: the kind of trouble; ``ok`` and ``starting`` are none.
        summary: one line; names the container where one is at fault.
        remedy: one line; "" where there is nothing to do.
        hopeless: waiting longer will not help.
    """

    category: Category
    summary: str
    remedy: str = ""
    hopeless: bool = False

    @property
    def is_trouble(self) -> bool:
        """Whether something is wrong at all."""
        return self.category not in ("ok", "starting")


OK = Diagnosis("ok", "ready")


def diagnose(pod: Mapping[str, Any]) -> Diagnosis:
    """What is wrong with `pod` (an object of the API)."""
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for check in (_whole_pod, _containers_waiting, _containers_ended):
        found = check(pod, status, containers)
        if found is not None:
            return found
    phase = status.get("phase")
    if phase == "Succeeded":
        return Diagnosis("ok", "done")
    if phase == "Failed":
        message = _line(status.get("message") or status.get("reason") or "no reason is given")
        return Diagnosis("failed", f"failed: {message}", _look(pod), hopeless=True)
    if phase == "Pending":
        return _pending(pod, status)
    return _running(pod, status, containers)


def diagnose_creation(events: Iterable[Mapping[str, Any]]) -> Diagnosis | None:
    """Why no pod comes to be: from the events of a ReplicaSet, StatefulSet or Job; the newest counts."""
    failed = [event for event in events if event.get("reason") == "FailedCreate"]
    if not failed:
        return None
    newest = max(failed, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    message = _line(str(newest.get("message", "")))
    if "exceeded quota" in message:
        what = re.search(r"exceeded quota: ([^,]+), requested: ([^ ]+)", message)
        detail = f"the quota {what[1]} has no room for {what[2].rstrip(',')}" if what else "a quota is full"
        return Diagnosis("quota", detail, "Raise the quota, or lower the requests of what runs there.")
    if "violates PodSecurity" in message:
        detail = message.partition("violates PodSecurity")[2].strip(' "')
        return Diagnosis(
            "pod-security",
            f"Pod Security refuses the pod: {detail}",
            "Take what it names out of kubernetes.patches.",
            hopeless=True,
        )
    return Diagnosis("failed", f"no pod can be made: {message}", "Look at what the cluster said.")


def _whole_pod(
    pod: Mapping[str, Any], status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
) -> Diagnosis | None:
    reason, message = status.get("reason"), _line(status.get("message", ""))
    if reason == "Evicted":
        remedy = "Give its container a larger request of what ran out, or the node more of it."
        return Diagnosis("evicted", f"the node drove it away: {message}", remedy, hopeless=True)
    if reason == "DeadlineExceeded":
        return Diagnosis("deadline", "it took longer than it may", _look(pod), hopeless=True)
    if reason in ("NodeLost", "Terminated", "Shutdown") or status.get("phase") == "Unknown":
        return Diagnosis("node-lost", f"its node {_node(pod)} is gone", "Look at the node: kubectl describe node.")
    return None


def _containers_waiting(
    pod: Mapping[str, Any], status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
) -> Diagnosis | None:
    for container in containers:
        waiting = container.get("state", {}).get("waiting")
        if not waiting:
            continue
        reason, message = waiting.get("reason", ""), _line(waiting.get("message", ""))
        if reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
            return _image(container, reason, message)
        if reason in ("InvalidImageName", "ErrInspectImage", "ImageInspectError"):
            what = f"{container['image']!r} is not the name of an image"
            return Diagnosis("image-name", what, "Mend image in aerodrome.yaml.", hopeless=True)
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            return _configuration(container, message)
        if reason == "CrashLoopBackOff":
            return _crash(pod, container)
    return None


def _containers_ended(
    pod: Mapping[str, Any], status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
) -> Diagnosis | None:
    for container in containers:
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode") != 0:
            return _ended(pod, container, ended)
    return None


def _image(container: Mapping[str, Any], reason: str, message: str) -> Diagnosis:
    image = container["image"]
    if reason == "ErrImageNeverPull":
        what, remedy = f"the node does not hold the image {image}, and may not pull it", "Load it onto the nodes."
        return Diagnosis("image-missing", what, remedy, hopeless=True)
    lower = message.lower()
    if any(word in lower for word in ("unauthorized", "denied", "authentication required", "forbidden", "401", "403")):
        what = f"the registry refuses the image {image}"
        remedy = "Is the name right, and does kubernetes.image_pull_secrets name a login for it?"
        return Diagnosis("image-denied", what, remedy, hopeless=True)
    if any(word in lower for word in ("not found", "manifest unknown", "no such image", "404", "does not exist")):
        what = f"there is no image {image}"
        return Diagnosis("image-missing", what, "Mend image in aerodrome.yaml, or push that image.", hopeless=True)
    detail = f": {message}" if message and reason == "ErrImagePull" else ""
    remedy = "Is the name right, and is the registry reached from the nodes?"
    return Diagnosis("image-pull", f"the image {image} can not be pulled{detail}", remedy, hopeless=True)


def _configuration(container: Mapping[str, Any], message: str) -> Diagnosis:
    missing = re.search(r"secret \"([^\"]+)\" not found", message)
    if missing:
        what = f"{container['name']} needs the Secret {missing[1]}, and there is none"
        return Diagnosis(
            "configuration", what, f"Make it: kubectl create secret generic {missing[1]} ...", hopeless=True
        )
    key = re.search(r"couldn't find key ([^ ]+) in Secret [^/]+/([^ ]+)", message)
    if key:
        what = f"the Secret {key[2]} has no key {key[1]}, which {container['name']} needs"
        return Diagnosis("configuration", what, "Add the key to it.", hopeless=True)
    return Diagnosis(
        "configuration",
        f"{container['name']} can not be started: {message}",
        "Look at what the node said.",
        hopeless=True,
    )


def _crash(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Diagnosis:
    ended = container.get("lastState", {}).get("terminated")
    if ended:
        return _ended(pod, container, ended)
    return Diagnosis("crashed", f"{container['name']} ends again and again", _look(pod, container["name"]))


def _ended(pod: Mapping[str, Any], container: Mapping[str, Any], ended: Mapping[str, Any]) -> Diagnosis:
    name, code = container["name"], ended.get("exitCode")
    restarts = int(container.get("restartCount", 0))
    if ended.get("reason") == "OOMKilled":
        limit = _memory_limit(pod, name)
        what = f"{name} needed more memory than its limit{f' of {limit}' if limit else ''}"
        return Diagnosis("out-of-memory", what, "Raise resources.limits.memory of it.", hopeless=restarts >= 2)
    said = _last_line(ended.get("message", ""))
    detail = f": {said}" if said else ""
    times = f", {restarts} times" if restarts > 1 else ""
    what = f"{name} ended with exit code {code}{times}{detail}"
    return Diagnosis("crashed", what, _look(pod, name), hopeless=restarts >= 3)


def _pending(pod: Mapping[str, Any], status: Mapping[str, Any]) -> Diagnosis:
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = _line(condition.get("message", ""))
            category: Category = "volume" if "persistentvolumeclaim" in message.lower() else "unschedulable"
            remedy = (
                "Is there a storage class that can make the volume? (database.embedded.storage_class)"
                if category == "volume"
                else "Free or add nodes, or lower the requests; node selectors and tolerations count too."
            )
            return Diagnosis(category, f"no node takes it: {message}", remedy)
    return Diagnosis("starting", "is being started")


def _running(pod: Mapping[str, Any], status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> Diagnosis:
    ready: Mapping[str, Any] = next((item for item in status.get("conditions", []) if item.get("type") == "Ready"), {})
    if ready.get("status") == "True":
        return OK
    if ready.get("reason") == "NodeNotReady" or "node" in str(status.get("reason", "")).lower():
        return Diagnosis(
            "node-lost", f"its node {_node(pod)} does not answer", "Look at the node: kubectl describe node."
        )
    unready = [item["name"] for item in containers if not item.get("ready") and "running" in item.get("state", {})]
    started = [item["name"] for item in containers if item.get("started")]
    late = [name for name in unready if name in started]
    if late:
        return Diagnosis("not-ready", f"{', '.join(late)} runs and is not ready", _look(pod, late[0]))
    return Diagnosis("starting", f"{', '.join(unready)} is starting" if unready else "is being started")


def _look(pod: Mapping[str, Any], container: str | None = None) -> str:
    metadata = pod["metadata"]
    chosen = f" -c {container}" if container else ""
    return f"Read its log: kubectl -n {metadata.get('namespace', 'default')} logs {metadata['name']}{chosen}"


def _memory_limit(pod: Mapping[str, Any], name: str) -> str | None:
    spec = pod.get("spec", {})
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        if container["name"] == name:
            limit = container.get("resources", {}).get("limits", {}).get("memory")
            return str(limit) if limit else None
    return None


def _node(pod: Mapping[str, Any]) -> str:
    return str(pod.get("spec", {}).get("nodeName") or "")


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _last_line(text: object) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    # a remedy stands below the error that it is for
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1].removeprefix("error: ")[:300]
