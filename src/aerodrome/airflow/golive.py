"""The end of a pass: the judgement of the head and its way into the database, or the database following the pointer."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aerodrome.airflow.agenda import Task
from aerodrome.airflow.collect import Outcome, folders_of
from aerodrome.airflow.release import Refused, Release, release
from aerodrome.config import Team
from aerodrome.gate import Judgement, Parsed, Policy, Surroundings, judge
from aerodrome.names import short
from aerodrome.store import Current, CurrentMoved, Store, TeamStore, Verdict, now

log = logging.getLogger("aerodrome.processor")

_MODULE = re.compile(r"No module named '([^']+)'")


@dataclass
class Pass:
    """A task with what has come of it so far."""

    task: Task
    root: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Path of the file, relative to the DAG folder, to what parsing it came to."""
    began: float = field(default_factory=time.monotonic)
    moved: Current | None = None
    """The pointer as this pass moved it: only the database is left to do."""
    verdict: Verdict | None = None


class Conflict(Exception):
    """Another team owns some dag_ids: dag_id to team."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        super().__init__(", ".join(owners))
        self.owners = dict(owners)


class GoLive:
    """Ends passes of one team.

    Args:
        hash: that verdicts are kept by (:func:`aerodrome.airflow.environment.fingerprint`).
        shared: whether all teams share this interpreter.
    """

    def __init__(self, team: Team, store: Store, hash: str, *, shared: bool) -> None:
        self._team = team
        self._store = store
        self._hash = hash
        self._shared = shared
        self._who = f"processor on {socket.gethostname()}"

    @property
    def _mine(self) -> TeamStore:
        return self._store.team(self._team.name)

    def judge(self, done: Pass) -> tuple[Verdict, bool]:
        """Judge the snapshot of `done`, and bring it live if it passes and nobody pinned another one.

        Returns:
            The verdict, which is written, and whether the database is at the snapshot now.

        Raises:
            StoreUnavailable, DatabaseAway: call again later with the same pass.
        """
        owners = self._store.dag_id_owners()
        refused: dict[str, str] = {}
        for _ in range(10):
            verdict = self._verdict(done, self._judge(done, owners, refused))
            if not verdict.passed or not self._wanted(done.task):
                break
            try:
                return verdict, release(self._release(done), lambda: self._commit_point(done, verdict))  # noqa: B023
            except Refused as error:
                refused = error.reasons
            except Conflict as error:
                owners |= error.owners
        self._mine.set_verdict(verdict)
        return verdict, False

    def follow(self, done: Pass) -> tuple[bool, bool]:
        """Bring the database to the pointer. Files that can not be parsed now leave their DAGs as they are.

        Returns:
            Whether the database is at the pointer now, and whether that is the whole snapshot.

        Raises:
            StoreUnavailable, DatabaseAway: call again later with the same pass.
        """
        left_out: dict[str, str] = dict(self._duplicates(done))
        for _ in range(10):
            try:
                whole = self._release(done)
                kept = tuple(dag for dag in whole.dags if dag.dag_id not in left_out)
                what = replace(whole, dags=kept)
                return release(what, lambda: self._still(done, what)), not left_out and not what.failed  # noqa: B023
            except Conflict as error:
                left_out |= {dag_id: f"it belongs to team {owner}" for dag_id, owner in error.owners.items()}
            except Refused as error:
                if "" in error.reasons:
                    log.error("Team %s: the DAGs of %s can not be stored: %s", self._team.name, done.root.name, error)
                    return False, False
                left_out |= error.reasons
            for dag_id, reason in left_out.items():
                log.error("Team %s: the DAG %s is left out: %s", self._team.name, dag_id, reason)
        return False, False

    def release_ids(self, current: str, unfinished: set[str]) -> None:
        """Give up the dag_ids that neither current nor an unfinished run has."""
        verdicts = self._mine.verdicts(current)
        if verdicts:
            self._store.release_dag_ids(self._team.name, unfinished | {i for v in verdicts for i in v.dag_ids})

    # --- one step each ---

    def _judge(self, done: Pass, owners: Mapping[str, str], refused: Mapping[str, str]) -> Judgement:
        return judgement(
            self._team, done.root, done.outcomes.values(), owners=owners, refused=refused, shared=self._shared
        )

    def _verdict(self, done: Pass, judgement: Judgement) -> Verdict:
        return Verdict(
            snapshot=done.task.snapshot,
            hash=self._hash,
            passed=judgement.passed,
            findings=judgement.findings,
            judged=now(),
            seconds=round(time.monotonic() - done.began, 3),
            dag_ids=judgement.dag_ids,
            files=judgement.files,
            external=judgement.external,
        )

    def _wanted(self, task: Task) -> bool:
        """Whether a passing snapshot goes into the database: nobody pinned another one."""
        return task.current is None or not task.current.pinned or task.current.snapshot == task.snapshot

    def _release(self, done: Pass) -> Release:
        outcomes = list(done.outcomes.values())
        failed: dict[str, str] = {}
        for outcome in outcomes:
            failed |= outcome.errors
            if outcome.file.ending is not None:
                failed[outcome.path] = f"the process that imported the file ended: {outcome.file.ending.how}"
        return Release(
            bundle=self._team.name,
            version=done.task.snapshot,
            dags=tuple(dag for outcome in outcomes for dag in outcome.dags),
            failed=failed,
            warnings=tuple(warning for outcome in outcomes for warning in outcome.warnings),
            seconds=sum(o.seconds for o in outcomes) / max(1, len(outcomes)),
        )

    def _commit_point(self, done: Pass, verdict: Verdict) -> bool:
        conflicts = self._store.claim_dag_ids(self._team.name, verdict.dag_ids)
        if conflicts:
            raise Conflict(conflicts)
        if done.verdict is None:
            self._mine.set_verdict(verdict)
            done.verdict = verdict
        before = done.moved or done.task.current
        if before is not None and before.snapshot == done.task.snapshot:
            return self._mine.current() == before
        try:
            done.moved = self._mine.move(
                done.task.snapshot, why="gate", who=self._who, expected=before, verdict=verdict
            )
        except CurrentMoved as error:
            log.info("%s", error.what)
            return False
        _test_hook("moved")
        return True

    def _still(self, done: Pass, what: Release) -> bool:
        conflicts = self._store.claim_dag_ids(self._team.name, [dag.dag_id for dag in what.dags])
        if conflicts:
            raise Conflict(conflicts)
        return self._mine.current() == done.task.current

    def _duplicates(self, done: Pass) -> list[tuple[str, str]]:
        seen: set[str] = set()
        found = []
        for outcome in done.outcomes.values():
            for dag in outcome.dags:
                if dag.dag_id in seen:
                    found.append((dag.dag_id, "it stands twice"))
                seen.add(dag.dag_id)
        return found


def judgement(
    team: Team,
    root: Path,
    outcomes: Iterable[Outcome],
    *,
    owners: Mapping[str, str],
    refused: Mapping[str, str],
    shared: bool,
) -> Judgement:
    """The gate on what parsing the snapshot at `root` came to.

    Args:
        owners: whose each dag_id is.
        refused: DAGs that the database refuses, and why.
        shared: whether all teams share this interpreter.
    """
    files = tuple(outcome.file for outcome in sorted(outcomes, key=lambda outcome: outcome.path))
    texts = "\n".join(error.text for file in files for error in file.errors)
    around = Surroundings(
        team=team.name,
        owners=owners,
        imports=team.imports,
        folders=folders_of(root, _MODULE.findall(texts)),
        shared=shared,
        interpreter=sys.executable,
    )
    return judge(Parsed(str(root), files, refused), policy_of(team), around)


def policy_of(team: Team) -> Policy:
    """The team's ``gate`` section as the gate takes it."""
    gate = team.gate
    return Policy(gate.timeout, gate.memory, gate.dag_id_prefix, tuple(gate.require), tuple(gate.allow))


def describe(verdict: Verdict, team: str) -> list[str]:
    """A verdict as lines for people."""
    what = "passed" if verdict.passed else "is refused"
    lines = [
        f"Team {team}: {short(verdict.snapshot)} {what}: {verdict.files} files, {len(verdict.dag_ids)} DAGs, "
        f"{verdict.seconds:.2f} s"
    ]
    for finding in verdict.findings:
        place = f"{finding.file or '-'}:{finding.line}" if finding.line else finding.file or "-"
        lines.append(f"  {finding.severity} {finding.kind} {place}: {finding.message} {finding.remedy}".rstrip())
    return lines


def _test_hook(point: str) -> None:
    """Tests of kill -9 stop here: the environment names a point and a file that appears when it is reached."""
    if os.environ.get("AERODROME_TEST_STOP_AT") == point:
        Path(os.environ["AERODROME_TEST_STOPPED"]).touch()
        time.sleep(3600)
