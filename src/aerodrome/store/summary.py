"""A team as the store knows it, ready for JSON: what ``status`` shows of it."""

from __future__ import annotations

from typing import Any

from aerodrome.config import Team
from aerodrome.store.records import Verdict
from aerodrome.store.store import Store


def summary(store: Store, team: Team) -> dict[str, Any]:
    """What the tracked ref is at, its verdict, and what is live.

    Raises:
        StoreUnavailable: the store can not be read.
    """
    records = store.team(team.name)
    head, current = records.head(), records.current()
    verdict = latest(records.verdicts(head.snapshot)) if head is not None and head.snapshot is not None else None
    live = latest([v for v in records.verdicts(current.snapshot) if v.passed]) if current is not None else None
    return {
        "name": team.name,
        "repo": team.repo,
        "ref": head.ref if head is not None else team.ref,
        "head": head.model_dump(mode="json") if head is not None else None,
        "verdict": verdict.model_dump(mode="json") if verdict is not None else None,
        "current": current.model_dump(mode="json") if current is not None else None,
        "dags": sorted(live.dag_ids) if live is not None else [],
    }


def latest(verdicts: list[Verdict]) -> Verdict | None:
    """The verdict that was spoken last."""
    return max(verdicts, key=lambda verdict: verdict.judged, default=None)
