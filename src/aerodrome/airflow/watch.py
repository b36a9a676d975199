"""A thread that watches the team's head and current, so that the processor's loop never waits for the store.

It wakes the loop through a socket pair, and is woken by a poke from sync: a UDP datagram whose content is the team's
name. A poke is a hint; whatever it says, the store is read.
"""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import threading
import time
from dataclasses import dataclass, replace

from aerodrome.errors import AerodromeError, Temporary
from aerodrome.store import Current, Head, TeamStore, Unchanged, Verdict

log = logging.getLogger(__name__)

LOCAL = 0.1  # seconds between two looks at a folder
REMOTE = 1.0  # at a bucket
_SLOWEST = 30.0  # at a store that can not be read


@dataclass(frozen=True)
class Seen:
    """What the store says; all None for a team that never had a commit.

    Args:
        verdict: on the head's snapshot, under this processor's hash.
        judged: whether there is a verdict on the current snapshot, under this processor's hash.
    """

    head: Head | None = None
    current: Current | None = None
    verdict: Verdict | None = None
    judged: bool = True


class Watch:
    """Watches from :meth:`start` to :meth:`stop`.

    Args:
        team: the team's part of the store.
        hash: which verdicts count.
        every: seconds between two looks.
        listen: where pokes arrive: host and port; port 0 = any free one.
    """

    def __init__(self, team: TeamStore, *, hash: str, every: float, listen: tuple[str, int] | None = None) -> None:
        self._team = team
        self._hash = hash
        self._every = every
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self.bell, self._ring = socket.socketpair()
        """Readable when there is news."""
        self._nudge, self._nudged = socket.socketpair()
        for end in (self.bell, self._ring, self._nudge, self._nudged):
            end.setblocking(False)
        self._stopping = threading.Event()
        self._pokes = _listen(listen) if listen else None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def port(self) -> int | None:
        """Where pokes arrive."""
        return self._pokes.getsockname()[1] if self._pokes else None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a read that is under way is not waited for."""
        self._stopping.set()
        self.look()
        self._thread.join(1.0)

    def look(self) -> None:
        """Read the store at once."""
        with contextlib.suppress(BlockingIOError):
            self._nudge.send(b".")

    def ring(self) -> None:
        """Wake whoever waits for :attr:`bell`; from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._ring.send(b".")

    def news(self) -> Seen | None:
        """What was seen last; None before the store was read for the first time."""
        with contextlib.suppress(BlockingIOError):
            while self.bell.recv(4096):
                pass
        with self._lock:
            return self._seen

    def _run(self) -> None:
        seen = Seen()
        tags: list[str | None] = [None, None]
        failures = 0
        waiting = [self._nudged, *([self._pokes] if self._pokes else [])]
        while not self._stopping.is_set():
            try:
                found = self._team.head_if_changed(tags[0])
                if not isinstance(found, Unchanged):
                    head = found.value if found else None
                    seen = replace(seen, head=head, verdict=self._verdict(head.snapshot if head else None))
                    tags[0] = found.tag if found else None
                moved = self._team.current_if_changed(tags[1])
                if not isinstance(moved, Unchanged):
                    current = moved.value if moved else None
                    verdict = self._verdict(current.snapshot if current else None)
                    seen = replace(seen, current=current, judged=current is None or verdict is not None)
                    tags[1] = moved.tag if moved else None
                if failures:
                    log.info("The store can be read again")
                failures = 0
                self._tell(seen)
            except Temporary as error:
                failures += 1
                if failures in (1, 10) or failures % 100 == 0:
                    log.warning("%s What is live stays live.", " ".join(str(error).split("\n")))
            except AerodromeError as error:
                failures += 1
                log.error("%s", " ".join(str(error).split("\n")))
            except Exception:
                failures += 1
                log.exception("Looking at the store failed")
            pause = min(_SLOWEST, self._every * 2 ** min(failures, 8)) * (1 + 0.1 * random.random())  # noqa: S311
            self._wait(waiting, pause)

    def _verdict(self, snapshot: str | None) -> Verdict | None:
        return self._team.verdict(snapshot, self._hash) if snapshot else None

    def _tell(self, seen: Seen) -> None:
        with self._lock:
            if seen == self._seen:
                return
            self._seen = seen
        self.ring()

    def _wait(self, sockets: list[socket.socket], pause: float) -> None:
        deadline = time.monotonic() + pause
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(sockets, [], [], left)
            wanted = False
            for one in ready:
                with contextlib.suppress(OSError):
                    data = one.recv(1024)
                    wanted |= one is self._nudged or data == self._team.name.encode()
            if wanted:
                return


def _listen(place: tuple[str, int]) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
    found = socket.socket(family, kind, protocol)
    found.bind(address)
    found.setblocking(False)
    return found
