"""The two processes of a team's triggerer: Airflow's, which import triggers from the snapshot that is live.

What they rely on of ``airflow.jobs.triggerer_job_runner`` is pinned by ``tests/integration/triggerer``: the supervisor
asks ``should_stop`` and calls ``run_once``; the runner calls ``create_triggers`` once a second.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import structlog
from airflow._shared.observability.metrics import stats
from airflow.configuration import conf
from airflow.jobs.job import Job
from airflow.jobs.triggerer_job_runner import TriggererJobRunner, TriggerRunner, TriggerRunnerSupervisor, messages
from airflow.observability.metrics import stats_utils

from aerodrome.airflow import ready, subreaper
from aerodrome.airflow.imports import use
from aerodrome.airflow.notes import Notes, differs
from aerodrome.airflow.pidfd import watch_end
from aerodrome.airflow.versions import Held, hold
from aerodrome.errors import AerodromeError
from aerodrome.names import short
from aerodrome.store import TeamStore, Unchanged

log = logging.getLogger("aerodrome.triggerer")

_LOOK = 1.0  # seconds between two looks at what is live
_SLOWEST = 30.0  # where the store can not be read
_LONGEST_PAUSE = 30.0  # seconds before a process of triggers that keeps dying is started again


class Snapshots:
    """What is live, kept unpacked on this machine.

    Args:
        team: the team's part of the store.
        notes: where the process of the triggers reads which snapshot that is.
    """

    def __init__(self, team: TeamStore, notes: Notes) -> None:
        self.notes = notes
        self._team = team
        self._held: Held | None = None
        self._tag: str | None = None
        self._next = 0.0
        self._failures = 0

    def follow(self) -> bool:
        """Look whether another snapshot is live, and have it unpacked.

        Returns:
            Whether the process of the triggers must be started again, because it has imported what has changed.
        """
        now = time.monotonic()
        if now < self._next:
            return False
        try:
            stale = self._look()
            self._failures = 0
        except AerodromeError as error:
            stale = False
            self._failures += 1
            if self._failures in (1, 10) or self._failures % 100 == 0:
                log.warning("%s Triggers go on as they are.", " ".join(str(error).split("\n")))
        self._next = now + min(_SLOWEST, _LOOK * 2 ** min(self._failures, 5))
        return stale

    def _look(self) -> bool:
        found = self._team.current_if_changed(self._tag)
        if isinstance(found, Unchanged):
            return False
        if found is None:
            self._tag = None
            return False
        before = self._held
        held = hold(self._team.name, found.value.snapshot, lambda: self._team)
        stale = before is not None and differs(self.notes.imported(), before.root, held.root)
        self.notes.set_root(held.root)
        self._held, self._tag = held, found.tag
        if before is not None:
            before.release()
        log.info("Team %s: triggers come from %s", self._team.name, short(found.value.snapshot))
        return stale


class TeamTriggererJobRunner(TriggererJobRunner):
    """Airflow's job, whose process of triggers is started again when its code has changed, or when it dies.

    Args:
        snapshots: what is live.
        imports: the team's folders for ``sys.path``.
        hidden: environment variables that team code must not see.
    """

    def __init__(
        self, job: Job, *, team_name: str, snapshots: Snapshots, imports: Sequence[str], hidden: frozenset[str]
    ) -> None:
        super().__init__(job, team_name=team_name)
        self._snapshots = snapshots
        self._imports = tuple(imports)
        self._hidden = hidden

    def _execute(self) -> int | None:
        # As Airflow's; so that questions about connections are answered as a server answers them.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        self.register_signals()
        stats.initialize(
            factory=stats_utils.get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on")
        )
        with contextlib.suppress(AerodromeError):  # the loop looks again
            self._snapshots.follow()
        deaths = 0
        while True:
            began = time.monotonic()
            self.trigger_runner = runner = self._start()
            ready.announce()
            try:
                runner.run()
            finally:
                died = runner._exit_code is not None
                runner.kill(escalation_delay=10, force=True)
            if died and not runner.stop:
                deaths = 1 if time.monotonic() - began > 10 * _LONGEST_PAUSE else deaths + 1
                pause = min(_LONGEST_PAUSE, 2.0 ** (deaths - 1))
                log.error("The process of the team's triggers ended by itself; it is started again in %.0f s", pause)
                until = time.monotonic() + pause
                while time.monotonic() < until and not runner.stop:
                    time.sleep(0.1)
            if runner.stop:
                return runner._exit_code

    def _start(self) -> TeamTriggers:
        return TeamTriggers.start(
            job=self.job,
            capacity=self.capacity,
            logger=structlog.get_logger("aerodrome.triggerer"),
            queues=self.queues,
            team_name=self.team_name,
            snapshots=self._snapshots,
            imports=self._imports,
            hidden=self._hidden,
        )


@attrs.define(kw_only=True)
class TeamTriggers(TriggerRunnerSupervisor):
    """Airflow's supervisor, which ends when its child runs code that is not live any more."""

    snapshots: Snapshots
    outdated: bool = False

    @classmethod
    def start(  # type: ignore[override]
        cls, *, job: Job, imports: Sequence[str], hidden: frozenset[str], snapshots: Snapshots, **options: Any
    ) -> Self:
        """Fork the process of the triggers."""
        snapshots.notes.begin()
        target = functools.partial(_run, snapshots.notes, tuple(imports), hidden, os.getpid())
        start = super(TriggerRunnerSupervisor, cls).start
        process = start(id=job.id, job=job, target=target, snapshots=snapshots, **options)
        watch_end(process)
        process.send_msg(messages.StartTriggerer(), request_id=0)
        return process

    def should_stop(self) -> bool:
        """Whether the loop ends: it was told to, or the child's code is not live any more."""
        return self.stop or self.outdated

    def run_once(self) -> None:
        """One turn of Airflow's loop; then look at what is live."""
        super().run_once()
        if self.snapshots.follow():
            log.info("Code of triggers has changed: their process is started again")
            self.outdated = True


class TeamTriggerRunner(TriggerRunner):
    """Airflow's runner, which imports triggers from the snapshot that is live."""

    def __init__(self, notes: Notes, imports: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._notes = notes
        self._imports = imports
        self._root: Path | None = None
        self._modules = 0
        self._files: set[str] = set()

    async def create_triggers(self) -> None:
        """As Airflow's, from the snapshot that is live now."""
        self._follow()
        await super().create_triggers()  # type: ignore[no-untyped-call]
        self._tell()

    def _follow(self) -> None:
        root = self._notes.root()
        if root is not None and root != self._root:
            use(root, self._imports)
            self.trigger_cache.clear()
            self._root, self._modules = root, 0

    def _tell(self) -> None:
        """Say which files of the snapshot are in use; triggers import more of them while they run."""
        if self._root is None or len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        inside = str(self._root) + os.sep
        places = [str(getattr(module, "__file__", "")) for module in list(sys.modules.values())]
        # Those of a snapshot before this one, too: triggers that run have their code from it.
        self._files |= {place.removeprefix(inside) for place in places if place.startswith(inside)}
        self._notes.set_imported(self._files)


def _run(notes: Notes, imports: Sequence[str], hidden: frozenset[str], parent: int) -> None:
    """Be the process of the triggers."""
    subreaper.die_with_parent(parent)
    for name in hidden:
        os.environ.pop(name, None)
    TeamTriggerRunner(notes, imports).run()  # type: ignore[no-untyped-call]
