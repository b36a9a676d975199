"""What ``status`` shows: the components with their memory, and each team as the store knows it."""

from __future__ import annotations

import contextlib
from typing import Any

import psutil

from aerodrome.config import Team
from aerodrome.config.installation import Installation
from aerodrome.local import control, kinship
from aerodrome.local.state import State
from aerodrome.store import Store
from aerodrome.store.records import Verdict


def overview(installation: Installation) -> dict[str, Any]:
    """The whole of it, ready for JSON.

    ``components`` have ``memory`` (bytes, shared pages counted once) and ``cpu`` (seconds since their start), all that
    they started included.

    Raises:
        AerodromeError: the store can not be read.
    """
    state = State(installation.state)
    found = control.status(state) if state.folder.exists() else None
    components = found["components"] if found is not None else []
    for component in components:
        component["memory"], component["cpu"] = _cost(component["pid"])
    healthy = found is not None and found["ready"] and all(part["state"] == "ready" for part in components)
    left = len(kinship.marked(state.folder)) if found is None and state.folder.exists() else 0
    store = Store(installation.store_url, installation.store_options)
    return {
        "running": found is not None,
        "healthy": healthy,
        "left_over": left,
        "url": found["url"] if found is not None else None,
        "supervisor": found["supervisor"] if found is not None else None,
        "state": str(installation.state),
        "components": components,
        "teams": [_team(store, team) for team in installation.config.teams],
    }


def _team(store: Store, team: Team) -> dict[str, Any]:
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


def _cost(pid: int | None) -> tuple[int, float]:
    memory, cpu = 0, 0.0
    if pid is None:
        return memory, cpu
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for part in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = part.cpu_times()
                cpu += times.user + times.system
                try:
                    memory += part.memory_full_info().pss
                except (psutil.Error, AttributeError):  # another user's, or not Linux
                    memory += part.memory_info().rss
    return memory, round(cpu, 2)
