"""A few at once, and nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_SLOW = 10


class Slots:
    """`count` holders at once; who holds a slot for longer than `patience` seconds goes on without it.

    So a repository that hangs costs the others at most `patience`, and that once: at its next attempt it stands in
    another line, with the other slow ones, where patience is ten times as long.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._quick = asyncio.Semaphore(count)
        self._slow = asyncio.Semaphore(count)
        self._patience = patience
        self._overdue: set[str] = set()

    @contextlib.asynccontextmanager
    async def one(self, who: str) -> AsyncIterator[None]:
        """Hold a slot for `who` inside the ``async with``, for a while."""
        slow = who in self._overdue
        line = self._slow if slow else self._quick
        await line.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                line.release()

        loop = asyncio.get_running_loop()
        begun = loop.time()
        timer = loop.call_later(self._patience * (_SLOW if slow else 1), give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
            if loop.time() - begun > self._patience:
                self._overdue.add(who)
            else:
                self._overdue.discard(who)
