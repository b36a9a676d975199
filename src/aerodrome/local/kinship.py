"""What holds a platform's processes together, so that none outlives it, however its supervisor ends.

Four things, each for what the others can not do (Linux; on macOS only the last):

- a component gets a signal from the kernel when its supervisor dies (``PR_SET_PDEATHSIG``), and
  :mod:`aerodrome.airflow.component` renews that at each fork, because a fork loses it;
- a supervisor, and the command above it, adopt every orphan below them (``PR_SET_CHILD_SUBREAPER``), so that the whole
  tree can still be found when processes in its middle have died, and daemonized ones too;
- the command ends that tree when the supervisor has died, the supervisor when the command has;
- every process carries the state folder in its environment, so that the next command finds what survived even all
  of them being killed at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

MARK = "AERODROME_PLATFORM"
"""Environment variable of every process of a platform: its state folder."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans(adopt: bool = True) -> None:
    """Make this process the parent of orphans below it, in place of init; no effect but on Linux."""
    if _LINUX:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def dies_with_parent(number: int) -> Callable[[], None]:
    """For a child between fork and exec: get signal `number` when the parent dies (its forking thread, to be exact)."""
    parent = os.getpid()

    def arm() -> None:
        if _LINUX:
            _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != parent:  # it died in between
                os._exit(1)

    return arm


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """All processes below `pid` (default: this one), parents before their children."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def marked(state: Path) -> list[psutil.Process]:
    """This user's processes of the platform in `state`, wherever they are in the tree; never this process and those
    above it.
    """
    above = {os.getpid()} | {parent.pid for parent in psutil.Process().parents()}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in above and process.environ().get(MARK) == str(state):
                found.append(process)
    return found


def end(find: Callable[[], Iterable[psutil.Process]], *, grace: float = 3.0) -> int:
    """End all processes that `find` gives, and those that they start meanwhile. Returns how many there were.

    Args:
        grace: seconds between asking and killing. PostgreSQL's postmaster is asked for a fast shutdown.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + grace
    while True:
        alive = [process for process in find() if _runs(process)]
        if not alive:
            return len(asked)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() >= deadline:
                    process.kill()
                elif process.pid not in asked:
                    process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
            asked.add(process.pid)
        reap()
        psutil.wait_procs(alive, timeout=0.05)


def wait_for_end(pid: int, *, patience: float = 10.0) -> None:
    """Wait until the process `pid` is gone, for at most `patience` seconds."""
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).wait(patience)


def reap() -> None:
    """Let ended children and adopted orphans go. Only where no subprocess object is waited for any more."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
