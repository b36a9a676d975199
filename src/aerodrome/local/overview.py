"""What ``status`` shows: the components with their memory, and each team as the store knows it."""

from __future__ import annotations

import contextlib
from typing import Any

import psutil

from aerodrome.config.installation import Installation
from aerodrome.local import control, kinship
from aerodrome.local.state import State
from aerodrome.store import Store
from aerodrome.store.summary import summary


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
        "teams": [summary(store, team) for team in installation.config.teams],
    }


def runs(installation: Installation) -> bool:
    """Whether the platform of this machine runs."""
    state = State(installation.state)
    return state.folder.exists() and control.status(state) is not None


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
