"""Row ``visible``: from a push to the new version in Airflow's API, on the whole platform of ``aerodrome up``."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from aerodrome.local import control
from aerodrome.local.airflow_api import AirflowApi
from aerodrome.local.ports import Ports
from aerodrome.local.state import State
from bench import database, forge, repositories, stock
from bench.database import Database
from bench.place import Place, aerodrome, basic_environment, installation, program, wait
from bench.publish import change
from bench.result import Result, median

_FILES = {"one": 1, "twenty": 20}
_MUST = {"one": 1.2, "twenty": 3.0}
_SAMPLES = 15
_LONGEST = 330.0
"""Seconds: GitDagBundle's refresh_interval of 300, and the parse."""
_DAG = "bench_00000"


def run(place: Place) -> Iterator[Result]:
    """Teams with 1 and with 20 DAG files; the stock dag-processor with every setting at its default meanwhile."""
    folder = place.folder("visible")
    repos = folder / "repos"
    for name, files in _FILES.items():
        repositories.plain(repos / name, files=files, commits=50)
    repositories.plain(repos / "stock", files=20, commits=50)
    place.say("making Airflow's schema")
    with forge.serve(repos) as url, database.serve(folder) as server:
        waiting = _Stock(folder, server.copy("stock"), repos / "stock", f"{url}/stock")
        waiting.start()
        try:
            ours = {name: _ours(place, folder / name, repos / name, f"{url}/{name}") for name in _FILES}
            place.say(f"waiting for the stock tool, {_LONGEST:.0f} s at most")
            waiting.join()
        finally:
            waiting.stopped.set()
            waiting.join()
    for name, samples in ours.items():
        yield Result(
            f"push to visible in Airflow's API, {_FILES[name]} DAG file{'s' if _FILES[name] > 1 else ''}",
            median(samples),
            None if waiting.seconds is None else round(waiting.seconds, 1),
            "s",
            f"{_MUST[name]:g} s",
            median(samples) <= _MUST[name],
            f"median of {_SAMPLES}, longest {max(samples):.2f} s; poll 1 s, gate too. Stock: one sample of 0-305 s",
            {"ours": samples, "stock": [] if waiting.seconds is None else [waiting.seconds]},
        )


class _Stock(threading.Thread):
    """One push to the stock tool at a random moment of its interval, in the background: it needs next to no CPU."""

    def __init__(self, folder: Path, db: Database, repo: Path, url: str) -> None:
        super().__init__()
        self._folder, self._db, self._repo, self._url = folder, db, repo, url
        self.stopped = threading.Event()
        self.seconds: float | None = None
        self.error: str | None = None

    def run(self) -> None:
        try:
            with stock.dag_processor(self._folder, self._db, self._url) as child:
                log = self._folder / "stock.log"
                wait("the bundle", lambda: stock.version(self._db) is not None, 120, child, log=log)
                first = stock.version(self._db)
                assert first
                wait("its first pass", lambda: self._db.live(first) == 20, 120, child, log=log)
                self.stopped.wait(random.uniform(0, 60))
                begun = time.monotonic()
                commit = change(self._repo, 0)
                wait(
                    "the change",
                    lambda: self.stopped.is_set() or self._db.live(commit) > 0,
                    _LONGEST,
                    child,
                    log=log,
                    pause=0.5,
                )
                if not self.stopped.is_set():
                    self.seconds = time.monotonic() - begun
        except RuntimeError as error:
            self.error = str(error)


def _ours(place: Place, folder: Path, repo: Path, url: str) -> list[float]:
    installed = installation(folder, {"bench": url}, sync={"poll": "1s"})
    state = State(installed.state)
    log = folder / "up.log"
    with program(aerodrome("up", installed), basic_environment(folder / "home"), log) as child:
        place.say(f"aerodrome up ({folder.name})")
        wait("the platform", lambda: (control.status(state) or {}).get("ready", False), 240, child, log=log, pause=0.5)
        port = Ports(state.ports).known("api-server")
        assert port
        password = json.loads(state.passwords.read_text())["admin"]
        api = AirflowApi(port, "admin", password)
        wait("the first commit", lambda: api.dag(_DAG) is not None, 120, child, log=log)
        samples = []
        for number in range(_SAMPLES + 2):
            place.say(f"{_FILES[repo.name]} DAG files, push {number + 1} of {_SAMPLES + 2}")
            time.sleep(random.uniform(1, 2))  # any moment of the poll interval
            begun = time.monotonic()
            commit = change(repo, 0)
            wait("the change", lambda commit=commit: _version(api) == commit, 60, child, log=log)  # type: ignore[misc]
            samples.append(time.monotonic() - begun)
        return samples[2:]  # the first ones teach the processor what its children import


def _version(api: AirflowApi) -> str | None:
    dag = api.dag(_DAG)
    return dag["bundle_version"] if dag else None
