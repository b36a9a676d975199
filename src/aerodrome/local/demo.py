"""The demonstration: two sample teams with two Git repositories of their own, and the product's story told on them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerodrome import names
from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError
from aerodrome.local import repository
from aerodrome.local.airflow_api import AirflowApi
from aerodrome.store import Store

TEAMS = ("payments", "search")
RUNS = {"payments": "payments_settlement", "search": "search_index"}
"""A DAG of each team whose last task says which team's module it imported."""
WAITS = {"payments": "payments_wait_for_bank", "search": "search_wait_for_crawl"}
"""A DAG of each team with a deferrable task."""

_PATIENCE = 90.0
_CONFIGURATION = """\
# Made by 'aerodrome demo', which begins anew each time.
name: demo
sync: {{poll: 1s}}
logs: {{segment: 1s}}
teams:
{teams}"""
_TEAM = """\
  - name: {team}
    repo: {repo}
    ref: main
    dags: dags
"""
_BROKEN = "import no_such_module_here\n"


@dataclass(frozen=True)
class Demo:
    """A demonstration's places.

    Args:
        folder: holds everything: configuration, state, and for each team the repository and a clone to work in.
    """

    folder: Path

    @property
    def configuration(self) -> Path:
        """Its ``aerodrome.yaml``."""
        return self.folder / "aerodrome.yaml"

    def clone(self, team: str) -> Path:
        """Where to change the team's DAGs: commit and ``git push``."""
        return self.folder / team

    def repo(self, team: str) -> Path:
        """The repository that the platform follows."""
        return self.folder / "repositories" / f"{team}.git"

    def create(self) -> Installation:
        """Begin anew.

        Raises:
            AerodromeError: the folder is something else, or git failed.
        """
        if self.folder.exists():
            if any(self.folder.iterdir()) and not self.configuration.exists():
                raise AerodromeError(
                    f"{self.folder} is there and is not a demonstration's folder", "Name another one: --state DIR."
                )
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        (self.folder / ".gitignore").write_text("*\n")
        (self.folder / "repositories").mkdir()
        for team in TEAMS:
            clone, repo = self.clone(team), self.repo(team)
            repository.create(clone, team)
            repository.git(self.folder, "init", "--quiet", "--bare", "--initial-branch=main", str(repo))
            repository.git(clone, "remote", "add", "origin", str(repo))
            repository.git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
        teams = "".join(_TEAM.format(team=team, repo=self.repo(team)) for team in TEAMS)
        self.configuration.write_text(_CONFIGURATION.format(teams=teams))
        return Installation.open(self.configuration)

    def push(self, team: str, message: str) -> str:
        """Commit what has changed in the clone and push it. Returns the commit."""
        commit = repository.commit(self.clone(team), message)
        repository.git(self.clone(team), "push", "--quiet")
        return commit


@dataclass
class Line:
    """One line of the story: what was tried, whether it is true, how long it took, and what was seen."""

    what: str
    true: bool
    seconds: float
    seen: str = ""


@dataclass
class Story:
    """The product's story, told on a running demonstration.

    Args:
        demo: its places.
        installation: its configuration.
        port: of its api-server.
        began: when the command was typed, on the monotonic clock.
        tell: is told each line as soon as it is known.
        alive: whether the platform still runs; the story ends when it does not.
    """

    demo: Demo
    installation: Installation
    port: int
    began: float
    tell: Callable[[Line], None]
    alive: Callable[[], bool] = lambda: True
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api = AirflowApi(self.port)
        self._store = Store(self.installation.store_url)

    def tell_all(self) -> bool:
        """The whole story. Returns whether every line of it is true."""
        for team in TEAMS:
            self._first_commit(team)
        for team in TEAMS:
            self._run(team, f"{team}: its DAG runs, from its own repository at its own commit")
        for team in TEAMS:
            self._deferred(team)
        self._change("payments")
        good = self._live("payments")
        self._break("payments", good)
        self._run("payments", "payments: its DAG still runs, at the last good commit", expected=good)
        self._mend("payments")
        self._run("payments", "payments: its DAG runs at the mended commit")
        return all(line.true for line in self.lines)

    def _first_commit(self, team: str) -> None:
        head = repository.git(self.demo.clone(team), "rev-parse", "HEAD")
        dag_id = RUNS[team]
        live = self._until(lambda: self._is_live(team, dag_id, head))
        seen = f"{names.short(head)}, seconds since the command" if live else self._why(team)
        self._line(f"{team}: first commit live", live, time.monotonic() - self.began, seen)

    def _run(self, team: str, what: str, *, expected: str | None = None) -> None:
        expected = expected or repository.git(self.demo.clone(team), "rev-parse", "HEAD")
        began = time.monotonic()
        dag_id = RUNS[team]
        run = self._finished(dag_id)
        if run is None:
            self._line(what, False, time.monotonic() - began, self._why(team))
            return
        said = self._api.result(dag_id, run["dag_run_id"], "report")
        commit = run.get("bundle_version") or ""
        true = run["state"] == "success" and commit == expected and isinstance(said, dict) and said.get("team") == team
        seen = f"{run['state']} at {names.short(commit)}" if commit else str(run["state"])
        if not true:
            seen += f", expected {names.short(expected)}; its module said {said}"
        self._line(what, true, time.monotonic() - began, seen)

    def _deferred(self, team: str) -> None:
        began = time.monotonic()
        run = self._finished(WAITS[team])
        true = run is not None and run["state"] == "success"
        seen = "no run"
        if run is not None:
            tasks = self._api.tasks(WAITS[team], run["dag_run_id"])
            log = self._api.log(WAITS[team], run["dag_run_id"], "wait") if tasks else ""
            # a sensor whose time has come never defers; its log tells
            true = true and "defer" in log.lower()
            seen = f"{run['state']}, {'deferred and taken up again' if true else 'not deferred'}"
        self._line(f"{team}: a deferred task", true, time.monotonic() - began, seen)

    def _change(self, team: str) -> None:
        shared = self.demo.clone(team) / "shared.py"
        shared.write_text(shared.read_text().replace("return sum(amounts)", "return sum(amounts) + 1"))
        commit = self.demo.push(team, "Change the total")
        self._visible(team, commit, f"{team}: a pushed change is live (seconds from push to visible)")

    def _break(self, team: str, good: str) -> None:
        broken = self.demo.clone(team) / "dags" / "settlement.py"
        lines = broken.read_text().splitlines(keepends=True)
        broken.write_text("".join(lines) + _BROKEN)
        commit = self.demo.push(team, "Break it")
        began = time.monotonic()
        records = self._store.team(team)
        refused = self._until(lambda: any(not verdict.passed for verdict in records.verdicts(commit)))
        seconds = time.monotonic() - began
        finding = next(
            (f for verdict in records.verdicts(commit) for f in verdict.findings if f.severity == "error"), None
        )
        exact = (
            finding is not None
            and (finding.file or "").endswith("settlement.py")
            and finding.line == len(lines) + 1
            and "no_such_module_here" in finding.message
        )
        seen = f"{finding.file}:{finding.line}: {finding.message}" if finding is not None else self._why(team)
        self._line(f"{team}: a broken push is refused, with file, line and error", refused and exact, seconds, seen)
        live = self._live(team)
        dag = self._api.dag(RUNS[team])
        stays = live == good and dag is not None and dag.get("bundle_version") == good and not dag.get("is_stale")
        self._line(
            f"{team}: the last good commit stays live", stays, time.monotonic() - began, names.short(live or "-")
        )

    def _mend(self, team: str) -> None:
        broken = self.demo.clone(team) / "dags" / "settlement.py"
        broken.write_text(broken.read_text().removesuffix(_BROKEN))
        commit = self.demo.push(team, "Mend it")
        self._visible(team, commit, f"{team}: the mend is live (seconds from push to visible)")

    def _visible(self, team: str, commit: str, what: str) -> None:
        began = time.monotonic()
        live = self._until(lambda: self._is_live(team, RUNS[team], commit), pause=0.02)
        self._line(what, live, time.monotonic() - began, names.short(commit) if live else self._why(team))

    def _finished(self, dag_id: str) -> dict[str, Any] | None:
        """A run of `dag_id`, started now, at its end; None when it can not be started."""
        if not self._until(lambda: (self._api.dag(dag_id) or {}).get("is_stale") is False):
            return None
        run_id = self._api.trigger(dag_id)
        return self._api.wait(dag_id, run_id, timeout=_PATIENCE)

    def _is_live(self, team: str, dag_id: str, commit: str) -> bool:
        dag = self._api.dag(dag_id)
        return dag is not None and dag.get("bundle_version") == commit and not dag.get("is_stale")

    def _live(self, team: str) -> str:
        current = self._store.team(team).current()
        return current.snapshot if current is not None else ""

    def _until(self, true: Callable[[], bool], *, pause: float = 0.1) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if not self.alive():
                raise AerodromeError("the platform ended before its story did", "See its logs.")
            if true():
                return True
            time.sleep(pause)
        return False

    def _why(self, team: str) -> str:
        """Why the team is not where it should be, as far as the store knows."""
        records = self._store.team(team)
        head = records.head()
        if head is None:
            return "no commit was fetched"
        if head.error:
            return head.error
        for verdict in records.verdicts(head.snapshot) if head.snapshot else []:
            for finding in verdict.findings:
                if finding.severity == "error":
                    return f"{finding.file}:{finding.line}: {finding.message}"
        return f"still waiting after {_PATIENCE:.0f} s"

    def _line(self, what: str, true: bool, seconds: float, seen: str) -> None:
        line = Line(what, true, round(seconds, 2), seen)
        self.lines.append(line)
        self.tell(line)


class Watch:
    """What happens on a running demonstration, for somebody who looks on.

    Args:
        installation: its configuration.
        port: of its api-server.
    """

    def __init__(self, installation: Installation, port: int) -> None:
        self._api = AirflowApi(port)
        self._store = Store(installation.store_url)
        self._seen: dict[str, object] = {}

    def start_runs(self) -> None:
        """Start a run of each sample DAG that is live and was not started yet."""
        for dag_id in (*RUNS.values(), *WAITS.values()):
            if f"started {dag_id}" not in self._seen:
                dag = self._api.dag(dag_id)
                if dag is not None and not dag.get("is_stale"):
                    self._seen[f"started {dag_id}"] = self._api.trigger(dag_id)

    def news(self) -> Iterator[str]:
        """What has happened since the last time."""
        for team in TEAMS:
            records = self._store.team(team)
            head, current = records.head(), records.current()
            if head is not None and head.snapshot is not None:
                if self._new(f"head {team}", head.snapshot):
                    manifest = records.manifest(head.snapshot)
                    subject = manifest.subject if manifest is not None else ""
                    yield f"{team}: commit {names.short(head.snapshot)} has arrived: {subject}"
                verdict = max(records.verdicts(head.snapshot), key=lambda verdict: verdict.judged, default=None)
                if verdict is not None and not verdict.passed and self._new(f"refused {team}", verdict.snapshot):
                    yield f"{team}: commit {names.short(verdict.snapshot)} was refused"
                    for finding in verdict.findings:
                        if finding.severity == "error":
                            yield f"    {finding.file}:{finding.line}: {finding.message}"
            if current is not None and self._new(f"live {team}", current.number):
                yield f"{team}: commit {names.short(current.snapshot)} is live ({current.why})"
        for run in self._api.runs():
            state = run["state"]
            if self._new(f"run {run['dag_id']} {run['dag_run_id']}", state):
                commit = names.short(run.get("bundle_version") or "-")
                yield f"{run['dag_id']}: run {state}, commit {commit}"

    def _new(self, key: str, value: object) -> bool:
        if self._seen.get(key) == value:
            return False
        self._seen[key] = value
        return True
