"""Waits until what was applied works, says how far it is, and gives up with the reason when waiting is in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from aerodrome.errors import AerodromeError
from aerodrome.kubernetes.cluster import Cluster, Ref
from aerodrome.kubernetes.diagnose import Diagnosis, diagnose, diagnose_creation
from aerodrome.kubernetes.objects import Object
from aerodrome.kubernetes.ready import Readiness, readiness

_PAUSE = 0.5
_PATIENCE = 20.0
"""Seconds for which a trouble that looks hopeless may pass by itself: a registry that fails once."""


class Watch:
    """Follows some objects until they are ready.

    Args:
        say: takes a line of progress.
        timeout: seconds until it gives up.
    """

    def __init__(self, cluster: Cluster, say: Callable[[str], None], timeout: float) -> None:
        self._cluster = cluster
        self._say = say
        self._timeout = timeout
        self._said: dict[Ref, str] = {}
        self._troubled: dict[str, float] = {}

    def until_ready(self, refs: Iterable[Ref]) -> None:
        """Wait for all of `refs`.

        Raises:
            AerodromeError: one of them will not become ready, or did not in time.
        """
        waiting = [ref for ref in refs if ref.kind in ("Deployment", "StatefulSet", "Job")]
        deadline = time.monotonic() + self._timeout
        begun = time.monotonic()
        while True:
            waiting = [ref for ref in waiting if not self._is_ready(ref, begun)]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise self._late(waiting[0])
            time.sleep(_PAUSE)

    def _is_ready(self, ref: Ref, begun: float) -> bool:
        entry = self._cluster.get(ref)
        if entry is None:
            raise AerodromeError(f"{ref} has vanished", "Somebody deletes what is applied; try again.")
        found = readiness(entry)
        if found.state == "ready":
            if ref in self._said:
                self._say(f"ready       {ref}  ({time.monotonic() - begun:.1f} s)")
            return True
        trouble = self._trouble(entry)
        if found.state == "failed":
            raise self._refusal(ref, trouble, found)
        self._show(ref, trouble, found)
        if trouble is not None and trouble[1].hopeless:
            key = f"{ref} {trouble[1].category}"
            since = self._troubled.setdefault(key, time.monotonic())
            if time.monotonic() - since > _PATIENCE:
                raise self._refusal(ref, trouble, found)
        return False

    def _show(self, ref: Ref, trouble: tuple[str, Diagnosis] | None, found: Readiness) -> None:
        words = f"{trouble[0]}: {trouble[1].summary}" if trouble is not None else found.words
        if self._said.get(ref) != words:
            self._said[ref] = words
            self._say(f"waiting     {ref}  ({words})")

    def _late(self, ref: Ref) -> AerodromeError:
        entry = self._cluster.get(ref)
        trouble = self._trouble(entry) if entry is not None else None
        late = Readiness("waiting", f"not ready after {self._timeout:g} s")
        return self._refusal(ref, trouble, late)

    def _refusal(self, ref: Ref, trouble: tuple[str, Diagnosis] | None, found: Readiness) -> AerodromeError:
        if trouble is None:
            return AerodromeError(
                f"{ref} does not become ready: {found.words}",
                f"Look at it: kubectl -n {ref.namespace} describe {ref.kind.lower()} {ref.name}",
            )
        _, diagnosis = trouble
        return AerodromeError(f"{ref} does not become ready: {diagnosis.summary}", diagnosis.remedy)

    def _trouble(self, entry: Object) -> tuple[str, Diagnosis] | None:
        """The worst that ails the newest pods of `entry`: the pod's name and what it is."""
        return worst(self._cluster, entry)


def worst(cluster: Cluster, entry: Object) -> tuple[str, Diagnosis] | None:
    """The worst trouble of a workload's newest pods, or why there are none; None when nothing is wrong."""
    namespace = entry["metadata"]["namespace"]
    pods = pods_of(cluster, entry)
    found = [(pod["metadata"]["name"], diagnose(pod)) for pod in pods]
    troubled = [item for item in found if item[1].is_trouble]
    if troubled:
        return max(troubled, key=lambda item: item[1].hopeless)
    if not pods:
        owner = entry["metadata"]["name"]
        events = [
            event
            for event in cluster.list("Event", namespace)
            if str(event.get("involvedObject", {}).get("name", "")).startswith(owner)
        ]
        made = diagnose_creation(events)
        return (owner, made) if made is not None else None
    return None


def pods_of(cluster: Cluster, entry: Object) -> Sequence[Object]:
    """The newest pods of a workload: those of its newest template, without what is being replaced."""
    if entry["kind"] == "Job":
        labels = {"batch.kubernetes.io/job-name": entry["metadata"]["name"]}
    else:
        labels = entry["spec"]["selector"]["matchLabels"]
    pods = [
        pod
        for pod in cluster.list("Pod", entry["metadata"]["namespace"], labels)
        if not pod["metadata"].get("deletionTimestamp")
    ]
    if entry["kind"] != "Deployment" or not pods:
        return sorted(pods, key=_born)[-entry["spec"].get("replicas", 1) :] if entry["kind"] == "Job" else pods
    newest = max(pods, key=_born)["metadata"]["labels"].get("pod-template-hash")
    return [pod for pod in pods if pod["metadata"]["labels"].get("pod-template-hash") == newest]


def _born(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))
