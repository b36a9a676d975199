"""The service: all teams in one process, each polled at its own pace, few at once, nobody delayed by another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError, UsageError
from aerodrome.store import Store
from aerodrome.sync.credentials import secret_folder
from aerodrome.sync.git import Git
from aerodrome.sync.mirror import Mirrors
from aerodrome.sync.pokes import Pokes
from aerodrome.sync.publication import Shared
from aerodrome.sync.slots import Slots
from aerodrome.sync.tracker import Outcome, Tracker

_LOG = logging.getLogger("aerodrome.sync")

_LOOKS = 16
_PATIENCE_WITH_LOOK = 1.0
_PATIENCE_WITH_FETCH = 1.0
_JITTER = 0.1
_LONGEST_PAUSE = 120.0
"""Seconds between attempts at a repository that fails (its own poll, where that is longer)."""
_THROTTLED_PAUSE = 60.0
_END = 1.5
"""Seconds that threads get to end in; a store that hangs must not hold up the end of the process."""


class Sync:
    """The service of one installation.

    Args:
        installation: what to sync, and where its state is.
        pokes: team to the place (host, UDP port) where its processor listens.

    Raises:
        AerodromeError: there is no git, no place for the state, or a secret of the store can not be read.
    """

    def __init__(self, installation: Installation, pokes: Mapping[str, tuple[str, int]] | None = None) -> None:
        config = installation.config
        unknown = set(pokes or {}) - {team.name for team in config.teams}
        if unknown:
            raise UsageError(f"There is no team {sorted(unknown)[0]} to poke.", "Name a team of aerodrome.yaml.")
        folder = installation.state / "sync"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise AerodromeError(
                f"{folder} can not be made: {error.strerror}.", "Name another --state folder."
            ) from None
        git = Git(folder)
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="sync")
        self._shared = Shared(
            store=Store(installation.store_url, installation.store_options),
            git=git,
            mirrors=Mirrors(git, folder / "mirrors"),
            secrets=secret_folder(folder),
            looks=Slots(_LOOKS, _PATIENCE_WITH_LOOK),
            fetches=Slots(config.sync.fetches, _PATIENCE_WITH_FETCH),
            threads=self._threads,
            pokes=Pokes(pokes or {}),
            stop=threading.Event(),
        )
        self._trackers = [Tracker(team, self._shared, _Line(_LOG, {"team": team.name})) for team in config.teams]
        self._shared.mirrors.forget(
            [(tracker.team.name, tracker.remote) for tracker in self._trackers],
            [team.name for team in config.teams if team.submodules],
        )

    def run(self, once: bool = False) -> int:
        """Run until SIGTERM or SIGINT; with `once` one pass over all teams.

        Returns:
            The exit code: 0, or 1 when `once` and a team could not be brought up to date.
        """
        return asyncio.run(self._main(once))

    async def _main(self, once: bool) -> int:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, ended.set)
        work = asyncio.ensure_future(self._once() if once else self._forever())
        end = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else 1 if once else 0
        finally:
            self._shared.stop.set()
            for task in (work, end):
                task.cancel()
            await asyncio.gather(work, end, return_exceptions=True)
            for tracker in self._trackers:
                tracker.close()
            await asyncio.sleep(0)
            with contextlib.suppress(OSError):  # not empty: another sync of this state runs
                self._shared.secrets.rmdir()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _once(self) -> int:
        outcomes = await asyncio.gather(*(self._pass(tracker) for tracker in self._trackers))
        failed = sum(outcome not in ("unchanged", "published") for outcome in outcomes)
        _LOG.info("one pass over %d teams: %d published, %d failed", len(outcomes), outcomes.count("published"), failed)
        return 1 if failed else 0

    async def _forever(self) -> int:
        _LOG.info("following %d repositories", len(self._trackers))
        async with asyncio.TaskGroup() as group:
            for tracker in self._trackers:
                group.create_task(self._follow(tracker))
            await asyncio.Event().wait()  # with no teams, too, until the end
        return 0

    async def _follow(self, tracker: Tracker) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        first = True
        while True:
            begun = loop.time()
            outcome = await self._pass(tracker)
            failures = failures + 1 if outcome in ("failed", "throttled") else 0
            wait = pause(tracker.team.poll, failures, throttled=outcome == "throttled")
            # After the first pass anywhere within the interval: the teams shall not go on asking all at once.
            wait *= random.random() if first and not failures else random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            first = False
            await asyncio.sleep(max(begun + wait - loop.time(), 0.1 * wait))

    async def _pass(self, tracker: Tracker) -> Outcome:
        try:
            return await tracker.pass_()
        except Exception:
            # A defect of ours at one repository must not end the service for all others.
            _LOG.exception("a pass ended with a defect", extra={"team": tracker.team.name})
            return "failed"


def pause(poll: float, failures: int, *, throttled: bool = False) -> float:
    """Seconds from the begin of one pass to that of the next, before jitter.

    Args:
        poll: the team's interval.
        failures: how many passes failed since the last good one.
        throttled: the server asked for fewer requests.
    """
    if not failures:
        return poll
    grown = poll * 2.0 ** min(failures, 16)
    return max(poll, min(max(grown, _THROTTLED_PAUSE if throttled else 0.0), _LONGEST_PAUSE))


def run(installation: Installation, once: bool, pokes: Mapping[str, tuple[str, int]]) -> int:
    """Run the service in this process, which is its own: log lines go to stderr. Returns the exit code.

    Raises:
        AerodromeError: as :class:`Sync`.
    """
    log_to_stderr()
    code = Sync(installation, pokes).run(once)
    _end_threads(code)
    return code


def _end_threads(code: int) -> None:
    """Wait a moment for threads; a store that hangs would hold up the interpreter's end for minutes."""
    deadline = time.monotonic() + _END
    for thread in threading.enumerate():
        if thread.name.startswith("sync"):
            thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.name.startswith("sync") for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # every step may be killed anywhere, so also here


class _Line(logging.LoggerAdapter[logging.Logger]):
    """Binds the team, and lets a line add its commit."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class _Format(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO team=payments commit=0123abc... what happened``, one line each."""

    def format(self, record: logging.LogRecord) -> str:
        bound = "".join(
            f" {key}={value}" for key in ("team", "commit") if (value := getattr(record, key, None)) is not None
        )
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{when}.{int(record.msecs):03d}Z {record.levelname}{bound} {text}"


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the log lines of sync to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    _LOG.handlers[:] = [handler]
    _LOG.propagate = False
    _LOG.setLevel(level)
