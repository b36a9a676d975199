"""Process trees of team code: found as a whole, measured as a whole, ended as a whole.

On Linux a process can make itself the heir of all its descendants (``PR_SET_CHILD_SUBREAPER``): whoever forks twice to
get away becomes its direct child. Elsewhere only what stayed in the tree is found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

_linux = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _linux else None


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have this process killed as soon as its parent, which has the id `parent`, is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def hide_memory() -> None:
    """Deny other processes of the same user this one's memory and environment (and children, what they inherit)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def children(pid: int) -> list[int]:
    """Ids of the direct children of `pid`, zombies among them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in sorted(Path(f"/proc/{pid}/task").iterdir()):
            with contextlib.suppress(OSError, ValueError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Ids of all that `pid` started, and what they started, and so on."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def name(pid: int) -> str:
    """Name of the program that `pid` runs; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def memory(pid: int) -> int:
    """Bytes of memory that `pid` itself fills (no file stands behind them); 0 when it is gone."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) << 10
    return total


def address_space(pid: int) -> int:
    """Bytes of address space of `pid`; 0 when it is not known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def threads() -> int:
    """Number of this process's threads, those of libraries too."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return 1


def kill(pid: int) -> None:
    """Kill `pid` and every descendant that it still has; those that flee are the next heir's business."""
    tree = [pid, *descendants(pid)]
    for member in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def end_orphans(keep: set[int], patience: float = 5.0) -> list[str]:
    """Kill all children of this process except `keep`, and what they leave, until none is left.

    Args:
        patience: seconds after which to give up on what can not be killed.

    Returns:
        The names of those that were still running.
    """
    names: dict[int, str] = {}
    deadline = time.monotonic() + patience
    while orphans := [pid for pid in children(os.getpid()) if pid not in keep]:
        for pid in orphans:
            if pid not in names and not _is_zombie(pid):
                names[pid] = name(pid)
            kill(pid)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    return [known for known in names.values() if known]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True


def _prctl(option: int, value: int) -> None:
    if _libc is not None and _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
