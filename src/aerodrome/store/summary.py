"""A team as the store knows it, ready for JSON: what ``status`` shows of it.

``python -m aerodrome.store.summary FILE`` prints a list of all teams of a configuration: run where the store can be
read, in the container of sync.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from aerodrome.config import Team
from aerodrome.config.installation import Installation
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


def main() -> None:
    """All teams of the configuration file that the command line names."""
    installation = Installation.open(sys.argv[1])
    store = Store(installation.store_url, installation.store_options)
    json.dump([summary(store, team) for team in installation.config.teams], sys.stdout)


if __name__ == "__main__":
    main()
