"""How much of this machine tasks may take."""

from __future__ import annotations

import os

import psutil

_TASK = 256 << 20
_PLATFORM = 2 << 30


def workers() -> int:
    """Tasks at once: two a core (most wait for something else), fewer where memory is short, 2 to 32.

    Airflow's LocalExecutor starts that many processes at once and keeps them; its default is 32 on any machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = (psutil.virtual_memory().total - _PLATFORM) // _TASK
    return int(max(2, min(2 * cores, memory, 32)))
