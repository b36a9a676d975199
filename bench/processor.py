"""Rows of the processor: 500 DAG files, idle and with a new commit, beside Airflow's dag-processor."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aerodrome.config.airflow_settings import environment
from aerodrome.config.installation import Installation
from bench import database, forge, meter, repositories, stock
from bench.database import Database
from bench.place import Place, aerodrome, basic_environment, installation, program, publish, wait
from bench.publish import change
from bench.result import Result, median
from bench.worker import installed_head

_TEAM = "plain"
_FILES = 500
_WATCHED = 60.0  # two of the stock tool's intervals
_COMMITS = 3
_CORES = 0.04
_RATIO = 0.8


def run(place: Place) -> Iterator[Result]:
    """The stock tool first, then ours, on the same repository and the same PostgreSQL."""
    folder = place.folder("processor")
    repo = folder / "repos" / _TEAM
    place.say("making the repository and Airflow's schema")
    repositories.plain(repo, files=_FILES, commits=2000)
    with forge.serve(repo.parent) as url, database.serve(folder) as server:
        first, stock_cpu, stock_idle = _stock(place, folder, server.copy("stock"), f"{url}/{_TEAM}")
        ours = _Ours(place, folder, server.copy("ours"), repo, f"{url}/{_TEAM}")
        ours.measure()
    idle = ours.idle
    assert idle
    yield Result(
        f"processor with {_FILES} unchanged files",
        round(idle.cores, 4),
        round(stock_idle.cores, 3),
        "cores",
        f"{_CORES:g} cores",
        idle.cores <= _CORES,
        f"over {_WATCHED:g} s; memory {idle.peak:.0f} MB, stock {stock_idle.peak:.0f} MB",
    )
    yield Result(
        f"{_FILES} DAG files, new commit to all live",
        median(ours.commits),
        round(first, 2),
        "s",
        f"{_RATIO:g}x stock's time",
        median(ours.commits) <= _RATIO * first,
        f"stock: its first full pass. CPU: ours {median(ours.cpu):.1f} s, stock {stock_cpu:.1f} s. Ours after "
        f"its start, nothing learned yet: {ours.first:.1f} s",
        {"ours": ours.commits, "stock": [first], "ours CPU": ours.cpu, "stock CPU": [stock_cpu]},
    )


def _stock(place: Place, folder: Path, db: Database, url: str) -> tuple[float, float, meter.Usage]:
    log = folder / "stock.log"
    with stock.dag_processor(folder, db, url) as child:
        place.say("stock: first full pass")
        wait("the bundle", lambda: stock.version(db) is not None, 120, child, log=log)
        version = stock.version(db)
        assert version
        before = meter.cpu(child.pid)
        first = wait("all files parsed", lambda: db.live(version) == _FILES, 600, child, log=log)
        cpu = meter.cpu(child.pid) - before
        place.say(f"stock: idle for {_WATCHED:g} s")
        time.sleep(30)  # its next passes come at intervals of 30 s
        return first, cpu, meter.watch(child.pid, _WATCHED)


class _Ours:
    """The processor of one team."""

    def __init__(self, place: Place, folder: Path, db: Database, repo: Path, url: str) -> None:
        self._place = place
        self._folder = folder
        self._db = db
        self._repo = repo
        self._installed = installation(folder, {_TEAM: url})
        self.first = 0.0
        self.idle: meter.Usage | None = None
        self.commits: list[float] = []
        self.cpu: list[float] = []

    def measure(self) -> None:
        env = prepared(self._installed, self._db)
        publish(self._installed)
        log = self._folder / "processor.log"
        with program([*aerodrome("processor", self._installed), "--team", _TEAM], env, log) as child:
            self._place.say("ours: first full pass")
            self.first = self._until_live(child, log, time.time())
            self._place.say(f"ours: idle for {_WATCHED:g} s")
            time.sleep(5)
            self.idle = meter.watch(child.pid, _WATCHED)
            for number in range(_COMMITS):
                self._place.say(f"ours: commit {number + 1} of {_COMMITS}")
                change(self._repo, number)
                before = meter.cpu(child.pid)
                publish(self._installed)
                head = self._installed.state / "store" / "teams" / _TEAM / "head.json"
                self.commits.append(self._until_live(child, log, head.stat().st_mtime))
                self.cpu.append(meter.cpu(child.pid) - before)

    def _until_live(self, child: subprocess.Popen[bytes], log: Path, begun: float) -> float:
        version = installed_head(self._installed, _TEAM)
        wait("all files live", lambda: self._db.live(version) == _FILES, 600, child, log=log)
        return time.time() - begun


def prepared(installed: Installation, db: Database) -> dict[str, str]:
    """The environment of the only team's processor, with `db` prepared for it."""
    team = installed.config.teams[0]
    env = {
        **basic_environment(installed.state / "airflow"),
        **environment(installed, "processor", team=team),
        **db.variables,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(installed.state / "bundles"),
    }
    subprocess.run(
        [sys.executable, "-m", "aerodrome.airflow.prepare"], env=env, check=True, capture_output=True, timeout=120
    )
    return env
