"""What an apply changes: objects compared by their meaning, the difference as text, and what starts anew. Pure."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from aerodrome.kubernetes.objects import Object
from aerodrome.kubernetes.objects.plan import COMPONENT, TEAM

# What the API server keeps for itself.
_METADATA = (
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
    "ownerReferences",
)
_NOTES = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")

Action = Literal["create", "change", "same"]


@dataclass(frozen=True)
class Change:
    """What applying an object does to it.

    Args:
        entry: the object as it is applied.
        action: what happens.
        difference: lines of a unified diff, "" where nothing differs or the object is new.
        restarts: what starts anew, in words; None when nothing does.
    """

    entry: Object
    action: Action
    difference: str = ""
    restarts: str | None = None


def compare(entry: Object, before: Object | None, after: Object | None) -> Change:
    """What became of `entry`.

    Args:
        before: the object as it was in the cluster, None when there was none.
        after: as it is now, or as a dry run says that it would be.
    """
    if before is None or after is None:
        return Change(entry, "create")
    was, now = meaning(before), meaning(after)
    if was == now:
        return Change(entry, "same")
    return Change(entry, "change", _difference(was, now), _restarts(entry, was, now))


def meaning(entry: Mapping[str, Any]) -> dict[str, Any]:
    """`entry` without its status and what the API server notes for itself. Values of Secrets become digests."""
    found = {key: value for key, value in entry.items() if key != "status"}
    metadata = {key: value for key, value in entry.get("metadata", {}).items() if key not in _METADATA}
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key not in _NOTES}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    found["metadata"] = metadata
    if entry.get("kind") == "Secret":
        found["data"] = {key: _hidden(value) for key, value in entry.get("data", {}).items()}
    return found


def _hidden(value: object) -> str:
    return f"(not shown; sha256 {hashlib.sha256(str(value).encode()).hexdigest()[:8]})"


def _difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = (yaml.safe_dump(item, sort_keys=True, width=120).splitlines() for item in (was, now))
    return "\n".join(difflib.unified_diff(old, new, "now", "after apply", n=2, lineterm=""))


def _restarts(entry: Object, was: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if entry["kind"] not in ("Deployment", "StatefulSet"):
        return None
    if was["spec"]["template"] == now["spec"]["template"]:
        return None
    labels = entry["metadata"]["labels"]
    return f"{_name(labels)}: {_CONSEQUENCE.get(labels[COMPONENT], 'replaced')}"


def _name(labels: Mapping[str, str]) -> str:
    team = labels.get(TEAM)
    return f"{labels[COMPONENT]} of {team}" if team else labels[COMPONENT]


_CONSEQUENCE = {
    "platform": "a new pod takes over when it is ready; running tasks go on",
    "api-server": "replaced one by one; the UI stays",
    "task-api": "replaced one by one; running tasks go on",
    "scheduler": "replaced; running tasks go on and are taken up again",
    "sync": "replaced; new commits wait for some seconds",
    "processor": "processor and triggerer replaced; new commits and deferred tasks wait for some seconds",
    "database": "restarted; the platform waits for it, running tasks retry their calls",
}
