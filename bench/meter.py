"""CPU time and memory of a process together with all its descendants (Linux)."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """What a tree of processes used while it was watched."""

    cores: float
    """CPU seconds a second."""
    peak: float
    """Largest memory of the tree, MB; pages that processes share are counted once (PSS)."""


def cpu(pid: int) -> float:
    """CPU seconds that the tree of `pid` has used; children that ended count with who waited for them."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def watch(pid: int, seconds: float) -> Usage:
    """Watch the tree of `pid` for `seconds`.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    before, begun = cpu(pid), time.monotonic()
    peak = 0.0
    end = begun + seconds
    ended = threading.Event()
    while (left := end - time.monotonic()) > 0:
        peak = max(peak, _memory(pid))
        ended.wait(min(left, 1.0))
    psutil.Process(pid)
    return Usage((cpu(pid) - before) / (time.monotonic() - begun), peak)


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _memory(pid: int) -> float:
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6
