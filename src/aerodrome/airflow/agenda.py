"""What a processor does next. No input, no output: it is told what was seen and what came of its last work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from aerodrome.airflow.watch import Seen
from aerodrome.store import Current, Head, Verdict, now

FIRST_RECHECK = 60.0
LAST_RECHECK = 600.0
_RETRY = 5.0


@dataclass(frozen=True)
class Task:
    """One pass: parse `snapshot`, then judge it, or bring the database to it.

    Args:
        kind: ``judge`` the head; ``follow`` the pointer, which moved, or whose files are to be parsed again.
        current: the pointer when the pass began.
        recheck: what the head's recheck was then.
    """

    kind: Literal["judge", "follow"]
    snapshot: str
    current: Current | None
    recheck: datetime | None = None


class Agenda:
    """Decides which pass is next.

    Args:
        reparse: seconds after which current is parsed again without a reason; None = never.
    """

    def __init__(self, reparse: float | None = None) -> None:
        self._reparse = reparse
        self.stored: str | None = None
        """The snapshot that the database holds."""
        self._asked = False
        self._verdict: Verdict | None = None
        self._recheck: datetime | None = None
        self._rechecks = 0
        self._parsed: float | None = None
        self._failures = 0
        self._not_before = 0.0
        self._refollow: float | None = None
        self._refreshed: str | None = None
        self._tried: tuple[str, int] | None = None
        self._moved: Current | None = None

    def request_reparse(self) -> None:
        """Somebody wants current to be parsed again."""
        self._asked = True

    def next(self, seen: Seen, clock: float) -> Task | None:
        """The pass to begin now, if any.

        Args:
            clock: monotonic seconds.
        """
        if clock < self._not_before:
            return None
        seen = self._newest(seen)
        return self._follow(seen, clock) or self._judge(seen, clock) or self._again(seen, clock)

    def known_verdict(self, seen: Seen) -> Verdict | None:
        """The verdict on the head, as far as it is known: this process's own is newer than the store's first one."""
        snapshot = seen.head.snapshot if seen.head else None
        if self._verdict is not None and self._verdict.snapshot == snapshot:
            return self._verdict
        return seen.verdict if seen.verdict is not None and seen.verdict.snapshot == snapshot else None

    # --- reports ---

    def began(self, task: Task) -> None:
        """`task` is being worked on."""
        self._asked = False
        if task.kind == "judge":
            self._recheck = task.recheck
            self._tried = (task.snapshot, task.current.number if task.current else 0)

    def judged(self, verdict: Verdict) -> None:
        """A verdict was written."""
        again = self._verdict is not None and self._verdict.snapshot == verdict.snapshot and verdict.external
        self._rechecks = self._rechecks + 1 if again else 0
        self._verdict = verdict
        self._failures = 0

    def moved(self, current: Current) -> None:
        """This process moved the pointer; what the store was seen to say may be older for a moment."""
        self._moved = current

    def stored_in_database(self, snapshot: str, clock: float, *, complete: bool) -> None:
        """The database is at `snapshot`; not `complete`: some files could not be parsed, to be tried again."""
        self.stored = self._refreshed = snapshot
        self._parsed = clock
        self._failures = 0 if complete else self._failures + 1
        self._refollow = None if complete else clock + _pause(self._failures - 1)

    def failed(self, clock: float) -> float:
        """The pass came to nothing through no fault of the snapshot. Returns the pause, in seconds."""
        self._failures += 1
        pause: float = min(30.0, 0.5 * 2 ** min(self._failures, 10))
        self._not_before = clock + pause
        return pause

    # --- rules ---

    def _newest(self, seen: Seen) -> Seen:
        """`seen`, but never a pointer from before this process's own move of it."""
        if self._moved is None:
            return seen
        if seen.current is not None and seen.current.number >= self._moved.number:
            self._moved = None
            return seen
        return replace(seen, current=self._moved, judged=True)

    def _follow(self, seen: Seen, clock: float) -> Task | None:
        current = seen.current
        if current is None:
            return None
        head = seen.head.snapshot if seen.head else None
        behind = self.stored != current.snapshot
        # An upgrade may store DAGs otherwise; the head is judged again anyway.
        unknown = not seen.judged and self._refreshed != current.snapshot and head != current.snapshot
        due = self._refollow is not None and clock >= self._refollow
        return Task("follow", current.snapshot, current) if behind or unknown or due else None

    def _judge(self, seen: Seen, clock: float) -> Task | None:
        head, current = seen.head, seen.current
        if head is None or head.snapshot is None:
            return None
        verdict = self.known_verdict(seen)
        task = Task("judge", head.snapshot, current, head.recheck)
        if verdict is None or self._recheck_asked(head, verdict):
            return task
        if verdict.passed:
            if current is not None and (current.pinned or current.snapshot == head.snapshot):
                return None
            # It passed and did not go live: killed in between, or unpinned since.
            if self._tried == (head.snapshot, current.number if current else 0):
                self._tried = None
                self._not_before = clock + _RETRY
                return None
            return task
        if verdict.external and (now() - verdict.judged).total_seconds() >= _pause(self._rechecks):
            return task
        return None

    def _recheck_asked(self, head: Head, verdict: Verdict) -> bool:
        if head.recheck is None or head.recheck == self._recheck:
            return False
        # the clocks of two machines: what this process judged was before it saw the wish
        return verdict is self._verdict or head.recheck > verdict.judged

    def _again(self, seen: Seen, clock: float) -> Task | None:
        current = seen.current
        if current is None:
            self._asked = False
            return None
        if self._parsed is None:
            self._parsed = clock
        due = self._reparse is not None and clock - self._parsed >= self._reparse
        return Task("follow", current.snapshot, current) if self._asked or due else None


def _pause(attempts: int) -> float:
    """1, 2, 4, 8 and then 10 minutes."""
    return min(LAST_RECHECK, FIRST_RECHECK * 2.0 ** max(0, min(attempts, 10)))
