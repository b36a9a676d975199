"""The user's strategic-merge patches, applied while rendering as ``kubectl patch`` would apply them. Pure.

How lists merge is Kubernetes' own (``patchMergeKey`` of its API types); only the lists of objects that Aerodrome
renders are known here, and every other list is replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from aerodrome.errors import AerodromeError
from aerodrome.kubernetes.objects.plan import Object

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "secrets": "name",
}
_DIRECTIVE = "$patch"


def patched(objects: Sequence[Object], patches: Sequence[Object]) -> list[Object]:
    """`objects` with each of `patches` merged into the object of its kind, name and namespace.

    Raises:
        AerodromeError: a patch fits no object, or more than one.
    """
    found = list(objects)
    for patch in patches:
        fitting = [index for index, candidate in enumerate(found) if _fits(patch, candidate)]
        words = f"{patch['kind']} {patch['metadata']['name']}"
        if not fitting:
            same = sorted({item["metadata"]["name"] for item in found if item["kind"] == patch["kind"]})
            raise AerodromeError(
                f"kubernetes.patches: there is no {words} to patch",
                f"Those of that kind are: {', '.join(same)}." if same else "No object of that kind is rendered.",
            )
        if len(fitting) > 1:
            places = ", ".join(sorted(str(found[index]["metadata"].get("namespace")) for index in fitting))
            raise AerodromeError(
                f"kubernetes.patches: {words} stands in more than one namespace: {places}",
                "Add metadata.namespace to the patch.",
            )
        merged = merge(found[fitting[0]], {key: value for key, value in patch.items() if key != "apiVersion"})
        assert isinstance(merged, dict)
        found[fitting[0]] = merged
    return found


def merge(base: Any, patch: Any, field: str = "") -> Any:
    """`patch` merged into `base`: mappings by key (null removes), lists by their merge key where Kubernetes has one."""
    if isinstance(patch, dict) and patch.get(_DIRECTIVE) == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = dict(base)
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            elif key != _DIRECTIVE:
                merged[key] = merge(merged.get(key), value, key)
        return merged
    if isinstance(patch, list):
        return _merge_lists(base if isinstance(base, list) else [], patch, field)
    if isinstance(patch, dict):
        return {key: merge(None, value, key) for key, value in patch.items() if value is not None}
    return copy.deepcopy(patch)


def _merge_lists(base: list[Any], patch: list[Any], field: str) -> list[Any]:
    key = _merge_key(field, [*base, *patch])
    if key is None:
        return copy.deepcopy(patch)
    if any(isinstance(item, dict) and item == {_DIRECTIVE: "replace"} for item in patch):
        return [copy.deepcopy(item) for item in patch if item != {_DIRECTIVE: "replace"}]
    merged = list(base)
    for item in patch:
        at = next((index for index, known in enumerate(merged) if known.get(key) == item.get(key)), None)
        if item.get(_DIRECTIVE) == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(merge(None, item))
        else:
            merged[at] = merge(merged[at], item)
    return merged


def _merge_key(field: str, items: Sequence[Any]) -> str | None:
    if not all(isinstance(item, dict) for item in items):
        return None
    if field == "ports":
        # of a container, or of a Service
        return "containerPort" if any("containerPort" in item for item in items) else "port"
    return _KEYS.get(field)


def _fits(patch: Object, candidate: Object) -> bool:
    wanted, there = patch["metadata"], candidate["metadata"]
    return bool(
        patch["kind"] == candidate["kind"]
        and patch.get("apiVersion", candidate["apiVersion"]) == candidate["apiVersion"]
        and wanted["name"] == there["name"]
        and wanted.get("namespace", there.get("namespace")) == there.get("namespace")
    )
