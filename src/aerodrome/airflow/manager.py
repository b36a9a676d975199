"""The loop of a team's processor: Airflow's, with its steps replaced that say what is parsed, and when.

What it relies on of ``airflow.dag_processing.manager`` (overridable, not a documented API; pinned by
``tests/integration/processor/test_internals.py``): the loop of ``_run_parsing_loop`` calls one method a step;
``handle_parsing_result`` gets every result; ``selector`` takes foreign sockets. What is left as it is: children's
channels, requests for variables and connections, callbacks, heartbeat, and the loop itself.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import os
import random
import selectors
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import attrs
from airflow.callbacks.callback_requests import CallbackRequest
from airflow.configuration import conf
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager
from airflow.jobs.dag_processor_job_runner import DagProcessorJobRunner
from airflow.jobs.job import Job, run_job
from airflow.models.dagbag import DagPriorityParsingRequest
from airflow.models.team import Team as AirflowTeam
from airflow.utils.file import list_py_file_paths
from airflow.utils.session import create_session
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from uuid6 import uuid7

from aerodrome.airflow import environment
from aerodrome.airflow.agenda import Agenda, Task
from aerodrome.airflow.answers import from_platform
from aerodrome.airflow.collect import outcome
from aerodrome.airflow.golive import GoLive, Pass, describe
from aerodrome.airflow.parse import ATTEMPTS, Nursery, NurseryLost, ParseProcess
from aerodrome.airflow.release import DatabaseAway, asking, retire_removed_teams, stored_version, unfinished
from aerodrome.airflow.versions import Held, hold
from aerodrome.airflow.watch import LOCAL, REMOTE, Seen, Watch
from aerodrome.config import Team
from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError, Temporary
from aerodrome.names import short
from aerodrome.store import Store

log = logging.getLogger("aerodrome.processor")

_ASK = 1.0  # seconds between two looks at callbacks and requests in the database
_CHORES = 60.0  # seconds between two rounds of what is never urgent
_STORED = 10.0  # seconds for which it is believed what the database holds


@dataclass(frozen=True)
class ParseFile(DagFileInfo):
    """A file of a pass. Never equal to the file of a callback, which would take its place in the queue."""

    number: int = 0


@dataclass(frozen=True)
class _Prepared:
    held: Held
    files: tuple[str, ...]


@dataclass
class _Work:
    """The pass that is under way."""

    task: Task
    number: int
    preparing: concurrent.futures.Future[_Prepared]
    prepared: _Prepared | None = None
    parsed: Pass | None = None
    attempts: dict[str, int] = field(default_factory=dict)
    expected: int = 0
    not_before: float = 0.0
    began: float = field(default_factory=time.monotonic)
    unpacked: float = 0.0


@attrs.define(kw_only=True)
class ProcessorManager(DagFileProcessorManager):
    """Airflow's manager, for one team, by snapshots."""

    team: Team
    nursery: Nursery
    watch: Watch
    golive: GoLive
    agenda: Agenda
    store: Store
    once: bool = False
    exit_code: int = attrs.field(default=0, init=False)

    _api_server: Any = attrs.field(default=None, init=False)
    """Made when something asks for more than variables and connections."""
    _work: _Work | None = attrs.field(default=None, init=False)
    _numbers: int = attrs.field(default=0, init=False)
    _worker: concurrent.futures.ThreadPoolExecutor = attrs.field(
        factory=lambda: concurrent.futures.ThreadPoolExecutor(1, "prepare"), init=False
    )
    _done: bool = attrs.field(default=False, init=False)
    _asked_for_requests: float = attrs.field(default=0.0, init=False)
    _asked_for_callbacks: float = attrs.field(default=0.0, init=False)
    _stored_at: float = attrs.field(default=float("-inf"), init=False)
    _chores_at: float = attrs.field(default=0.0, init=False)
    _no_fork_before: float = attrs.field(default=0.0, init=False)

    @classmethod
    def for_team(
        cls,
        installation: Installation,
        team: Team,
        nursery: Nursery,
        *,
        listen: tuple[str, int] | None = None,
        once: bool = False,
    ) -> Self:
        """The processor of `team`.

        Args:
            nursery: the warm parent.
            listen: where pokes arrive.
            once: end when there is nothing left to do.
        """
        store = Store(installation.store_url, installation.store_options)
        hash = environment.fingerprint(team)
        local = installation.store_url.startswith(("file:", "memory:"))
        every = LOCAL if local else REMOTE
        return cls(
            max_runs=-1,
            bundle_names_to_parse=[team.name],
            team=team,
            nursery=nursery,
            store=store,
            watch=Watch(store.team(team.name), hash=hash, every=every, listen=listen),
            golive=GoLive(team, store, hash, shared="KUBERNETES_SERVICE_HOST" not in os.environ),
            agenda=Agenda(team.reparse),
            once=once,
        )

    def __enter__(self) -> Self:
        return self

    @functools.cached_property
    def client(self) -> Any:
        """What answers the questions of DAG files."""
        return from_platform(self._make_client)

    def _make_client(self) -> Any:
        from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
        from airflow.sdk.api.client import Client

        self._api_server = InProcessExecutionAPI()
        client = Client(base_url=None, token="", dry_run=True, transport=self._api_server.transport)
        client.base_url = "http://in-process.invalid./"
        return client

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self.nursery.close()

    # --- before the loop ---

    def before_run(self) -> None:
        """As Airflow's; then watch the store."""
        super().before_run()
        self.nursery.watch(self.selector)
        self.selector.register(self.watch.bell, selectors.EVENT_READ, (_drain, lambda _: None))
        self.watch.start()

    def sync_bundles(self) -> None:
        """As Airflow's, which fails where a team is new or another processor does the same at the same moment."""
        for attempt in range(10):
            try:
                with asking():
                    _make_teams()
                    return super().sync_bundles()
            except IntegrityError:
                if attempt == 9:
                    raise
                time.sleep(0.1 * random.random() * (attempt + 1))  # noqa: S311 - spreads writers, guards nothing
        return None

    def _get_team_names(self, bundle_names: Iterable[str]) -> dict[str, str | None]:
        return {name: self.team.airflow_name if name == self.team.name else None for name in bundle_names}

    # --- steps of Airflow's loop ---

    def _queue_requested_files_for_parsing(self) -> None:
        """A request from the UI means: parse current again. Whatever file it names, all are parsed together."""
        if time.monotonic() - self._asked_for_requests < _ASK:
            return
        self._asked_for_requests = time.monotonic()
        with self._database(), create_session() as session:
            mine = DagPriorityParsingRequest.bundle_name == self.team.name
            if session.scalar(select(DagPriorityParsingRequest.id).where(mine).limit(1)):
                session.execute(delete(DagPriorityParsingRequest).where(mine))
                self.agenda.request_reparse()

    def fetch_callbacks(self) -> list[CallbackRequest]:
        """As Airflow's, once a second and not at each event."""
        if time.monotonic() - self._asked_for_callbacks < _ASK:
            return []
        self._asked_for_callbacks = time.monotonic()
        with self._database():
            return super().fetch_callbacks()
        return []

    def purge_inactive_dag_warnings(self) -> None:
        """As Airflow's, and all else that is never urgent."""
        if time.monotonic() - self._chores_at < _CHORES:
            return
        self._chores_at = time.monotonic()
        with self._database():
            super().purge_inactive_dag_warnings()
            retire_removed_teams()
            seen = self.watch.news()
            if seen is not None and seen.current is not None and self.agenda.stored == seen.current.snapshot:
                self.golive.release_ids(seen.current.snapshot, unfinished(self.team.name))

    def _refresh_dag_bundles(self, known_files: dict[str, set[DagFileInfo]]) -> None:
        """The heart: begin the next pass, go on with this one, or end it."""
        try:
            while self._advance():
                pass
        except Temporary as error:
            pause = self.agenda.failed(time.monotonic())
            if self._work is not None:
                self._work.not_before = time.monotonic() + pause
            log.warning("%s (again in %.0f s)", " ".join(str(error).split("\n")), pause)

    def prepare_file_queue(self, known_files: dict[str, set[DagFileInfo]]) -> None:
        """Nothing is parsed because time has passed."""

    def _scan_stale_dags(self) -> None:
        """What vanished is marked in the transaction of the snapshot that lacks it."""

    def _start_new_processes(self) -> None:
        while self._file_queue and len(self._processors) < self._parallelism:
            if time.monotonic() < self._no_fork_before:
                return
            file, _ = self._file_queue.popitem(last=False)
            if file in self._processors:
                continue
            try:
                self._processors[file] = self._create_process(file)
            except NurseryLost:
                log.error("The warm parent of team %s's parsing was lost and is started again", self.team.name)
                self._file_queue[file] = None
                self._file_queue.move_to_end(file, last=False)
                self._no_fork_before = time.monotonic() + 1
                return

    def _create_process(self, dag_file: DagFileInfo) -> ParseProcess:
        callbacks = self._callback_to_execute.pop(dag_file, [])
        logger, handle = self._get_logger_for_dag_file(dag_file)
        assert dag_file.bundle_path is not None
        return ParseProcess.start(
            nursery=self.nursery,
            root=_root(dag_file.bundle_path, self.team.dags),
            imports=self.team.imports,
            memory=self.team.gate.memory,
            id=uuid7(),
            path=dag_file.absolute_path,
            bundle_path=dag_file.bundle_path,
            bundle_name=dag_file.bundle_name,
            dag_file_rel_path=str(dag_file.rel_path),
            callbacks=callbacks,
            selector=self.selector,
            logger=logger,
            logger_filehandle=handle,
            subprocess_logs_to_stdout=conf.get("logging", "dag_processor_log_target") == "stdout",
            client=self.client,
        )

    def _kill_timed_out_processors(self) -> None:
        """Have those ended that are over their time; their end is collected as any other."""
        for processor in self._processors.values():
            assert isinstance(processor, ParseProcess)
            processor.enforce(self.processor_timeout)

    def handle_parsing_result(self, file: DagFileInfo, proc: Any, **_: Any) -> None:
        """Hold the result back until all files of the pass are in; callbacks have none."""
        if not isinstance(file, ParseFile):
            super().handle_parsing_result(file, proc)
            return
        work = self._work
        if work is None or work.parsed is None or file.number != work.number:
            return
        path = str(file.rel_path)
        work.attempts[path] = work.attempts.get(path, 0) + 1
        if proc.was_lost() and work.attempts[path] < ATTEMPTS:
            self._file_queue[file] = None
            return
        work.parsed.outcomes[path] = outcome(
            path,
            folder=self.team.dags,
            root=work.parsed.root,
            result=proc.parsing_result,
            ending=proc.ending(),
            left=proc.tracker.left,
            seconds=time.monotonic() - proc.start_time,
        )

    def max_runs_reached(self) -> bool:
        """Whether the loop ends: with ``once``, when there is nothing left to do."""
        return self._done

    def terminate(self) -> None:
        """End all children, and what they started."""
        self.nursery.close()

    def end(self) -> None:
        """All is ended by :meth:`terminate`."""

    # --- a pass ---

    def _advance(self) -> bool:
        """One step; whether there may be another one at once."""
        now = time.monotonic()
        seen = self.watch.news()
        if seen is None:
            return False
        work = self._work
        if work is None:
            return self._begin(seen, now)
        if now < work.not_before:
            return False
        if work.prepared is None:
            return self._enqueue(work)
        assert work.parsed is not None
        if len(work.parsed.outcomes) < work.expected:
            return False
        self._finish(work, work.parsed)
        return True

    def _begin(self, seen: Seen, now: float) -> bool:
        if now - self._stored_at > _STORED:
            self.agenda.stored = stored_version(self.team.name)
            self._stored_at = now
        task = self.agenda.next(seen, now)
        if task is None:
            if self.once and not self._processors and not self._file_queue:
                verdict = self.agenda.known_verdict(seen)
                self.exit_code = 1 if verdict is not None and not verdict.passed else 0
                self._done = True
            return False
        self.agenda.began(task)
        self._numbers += 1
        preparing = self._worker.submit(self._prepare, task.snapshot)
        preparing.add_done_callback(lambda _: self.watch.ring())
        self._work = _Work(task, self._numbers, preparing)
        return False

    def _prepare(self, snapshot: str) -> _Prepared:
        held = hold(self.team.name, snapshot, lambda: self.store.team(self.team.name))
        try:
            folder = held.root / self.team.dags
            found = list_py_file_paths(folder, safe_mode=self.dag_discovery_safe_mode) if folder.is_dir() else []
            return _Prepared(held, tuple(sorted(str(Path(path).relative_to(folder)) for path in found)))
        except BaseException:
            held.release()
            raise

    def _enqueue(self, work: _Work) -> bool:
        if not work.preparing.done():
            return False
        try:
            work.prepared = prepared = work.preparing.result()
        except AerodromeError as error:
            self._work = None
            if isinstance(error, Temporary):
                raise
            # A snapshot that is missing or damaged may be published again.
            pause = self.agenda.failed(time.monotonic())
            log.error("%s (again in %.0f s)", " ".join(str(error).split("\n")), pause)
            self._done = self.once
            self.exit_code = 1
            return False
        work.unpacked = time.monotonic()
        root = prepared.held.root
        work.parsed = Pass(work.task, root, began=work.began)
        work.expected = len(prepared.files)
        for path in prepared.files:
            file = ParseFile(
                rel_path=Path(path),
                bundle_name=self.team.name,
                bundle_path=root / self.team.dags,
                bundle_version=work.task.snapshot,
                number=work.number,
            )
            self._file_queue[file] = None
        return not prepared.files

    def _finish(self, work: _Work, parsed: Pass) -> None:
        ready = time.monotonic()
        if work.task.kind == "judge":
            verdict, stored = self.golive.judge(parsed)
            self.agenda.judged(verdict)
            for line in describe(verdict, self.team.name):
                log.info("%s", line)
            complete = True
        else:
            stored, complete = self.golive.follow(parsed)
        now = time.monotonic()
        if parsed.moved is not None:
            self.agenda.moved(parsed.moved)
        if stored:
            self.agenda.stored_in_database(work.task.snapshot, now, complete=complete)
            self._chores_at = min(self._chores_at, now - _CHORES + 1)
            log.info(
                "Team %s: %s is live, %.2f s (unpacked %.2f, parsed %.2f, stored %.2f)",
                self.team.name,
                short(work.task.snapshot),
                now - work.began,
                work.unpacked - work.began,
                ready - work.unpacked,
                now - ready,
            )
        elif work.task.kind == "follow":
            self._stored_at = float("-inf")
            self.agenda.failed(now)
        self._work = None
        assert work.prepared is not None
        work.prepared.held.release()
        self.watch.look()

    @contextlib.contextmanager
    def _database(self) -> Any:
        """A database that is away is waited for: children and the store go on."""
        try:
            with asking():
                yield
        except DatabaseAway as error:
            log.warning("%s", " ".join(str(error).split("\n")))


def run(manager: ProcessorManager) -> None:
    """Run the loop as a job of Airflow, whose heartbeat its health page shows."""
    runner = DagProcessorJobRunner(job=Job(), processor=manager)
    run_job(job=runner.job, execute_callable=runner._execute)


def _make_teams() -> None:
    """Airflow's teams of the configured bundles, where they are missing."""
    bundles = cast(list[dict[str, Any]], conf.getjson("dag_processor", "dag_bundle_config_list") or [])
    wanted = {bundle["team_name"] for bundle in bundles if bundle.get("team_name")}
    with create_session() as session:
        known = set(session.scalars(select(AirflowTeam.name)))
        for name in sorted(wanted - known):
            session.add(AirflowTeam(name=name))


def _root(folder: Path, dags: str) -> Path:
    """The repository's root, from its DAG folder."""
    for part in Path(dags).parts:
        if part != ".":
            folder = folder.parent
    return folder


def _drain(bell: Any) -> bool:
    with contextlib.suppress(BlockingIOError):
        while bell.recv(4096):
            pass
    return True
