"""Whether what was applied works already: from the status of Deployments, StatefulSets and Jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ready", "waiting", "failed"]


@dataclass(frozen=True)
class Readiness:
    """How far an object is, in one line."""

    state: State
    words: str = ""


def readiness(entry: Mapping[str, Any]) -> Readiness:
    """How far `entry` is; objects that have nothing to start are ready."""
    kind, status = entry["kind"], entry.get("status", {})
    if kind == "Job":
        return _job(status)
    if kind not in ("Deployment", "StatefulSet"):
        return Readiness("ready")
    if status.get("observedGeneration", 0) < entry["metadata"].get("generation", 0):
        return Readiness("waiting", "not seen yet")
    wanted = entry["spec"].get("replicas", 1)
    if kind == "StatefulSet":
        counts = (status.get("updatedReplicas", 0), status.get("readyReplicas", 0))
        done = min(counts) >= wanted and status.get("currentRevision") == status.get("updateRevision")
        return Readiness("ready" if done else "waiting", f"{min(counts)} of {wanted} pods ready")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted or available < wanted:
        return Readiness("waiting", f"{min(updated, available)} of {wanted} pods ready")
    if status.get("replicas", 0) > updated:
        return Readiness("waiting", "the old pod is ending")
    return Readiness("ready", f"{wanted} of {wanted} pods ready")


def _job(status: Mapping[str, Any]) -> Readiness:
    for condition in status.get("conditions", []):
        if condition.get("status") == "True" and condition.get("type") == "Complete":
            return Readiness("ready", "done")
        if condition.get("status") == "True" and condition.get("type") == "Failed":
            return Readiness("failed", f"failed: {condition.get('message', '')}")
    return Readiness("waiting", "running")
