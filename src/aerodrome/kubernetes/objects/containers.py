"""Containers and pods: what all of them share, and the parts that pods are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aerodrome.config.kubernetes import Component, Resources, Toleration
from aerodrome.kubernetes.objects.plan import STATE, Object, Plan, limited

UID = 50000
"""User and group of the image."""


@dataclass(frozen=True)
class Part:
    """A container with what it needs of its pod. In the compact topology many share one pod."""

    container: Object
    volumes: Sequence[Object] = ()
    init: Sequence[Object] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    """What the container reads at its start and is not in the pod: name to digest."""


def container_security() -> Object:
    """The security context of a container under Pod Security "restricted"; its root file system is read-only."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }


def pod_security() -> Object:
    """The security context of a pod under Pod Security "restricted"."""
    return {
        "fsGroup": UID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "runAsGroup": UID,
        "runAsNonRoot": True,
        "runAsUser": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources_of(given: Resources | None, requests: Mapping[str, str], limits: Mapping[str, str]) -> dict[str, Any]:
    """The resources of a container: those of the configuration, or the measured defaults."""
    if given is not None:
        requests, limits = given.requests, given.limits
    found = {"requests": dict(sorted(requests.items())), "limits": dict(sorted(limits.items()))}
    return {name: values for name, values in found.items() if values}


def scratch(container: str, size: str = "2Gi") -> tuple[list[Object], list[Object]]:
    """Folders of a container's own to write into: mounts and volumes."""
    mounts = [
        {"name": limited(f"state-{container}", 63), "mountPath": STATE},
        {"name": limited(f"tmp-{container}", 63), "mountPath": "/tmp"},  # noqa: S108 - a volume of its own
    ]
    return mounts, [{"name": mount["name"], "emptyDir": {"sizeLimit": size}} for mount in mounts]


def http_probe(path: str, port: int, **timing: int) -> Object:
    """A probe by HTTP; times are seconds."""
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5, **timing}


def placement(component: Component) -> Object:
    """Where the pods of a component may run."""
    return placed(component.node_selector, component.tolerations)


def placed(node_selector: Mapping[str, str], tolerations: Iterable[Toleration]) -> Object:
    """Node selector and tolerations as in a pod."""
    fields: Object = {}
    if node_selector:
        fields["nodeSelector"] = dict(sorted(node_selector.items()))
    listed = [toleration.model_dump(exclude_none=True) for toleration in tolerations]
    if listed:
        fields["tolerations"] = listed
    return fields


def image_fields(plan: Plan) -> Object:
    """What every pod says of images."""
    secrets = plan.config.kubernetes.image_pull_secrets
    return {"imagePullSecrets": [{"name": name} for name in secrets]} if secrets else {}


def pod_spec(plan: Plan, parts: Sequence[Part], *, account: str, grace: int, **fields: Any) -> Object:
    """A pod of `parts`.

    Args:
        account: its service account; a token is mounted only where a part brings its volume.
        grace: seconds from SIGTERM to SIGKILL.
    """
    volumes = {volume["name"]: volume for part in parts for volume in part.volumes}
    init = {container["name"]: container for part in parts for container in part.init}
    spec: Object = {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": f"{plan.config.name}-platform",
        "terminationGracePeriodSeconds": grace,
        "securityContext": pod_security(),
        **image_fields(plan),
        **fields,
    }
    if init:
        spec["initContainers"] = list(init.values())
    spec["containers"] = [part.container for part in parts]
    if volumes:
        spec["volumes"] = [volumes[name] for name in sorted(volumes)]
    return spec
