"""Row ``publish``: a new commit becomes a snapshot in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from aerodrome.config.installation import Installation
from aerodrome.sync.service import Sync
from bench import forge, repositories, tracking
from bench.place import Place, installation
from bench.result import Result, median
from bench.worker import installed_head

_SAMPLES = 9
_MUST = 0.5


def run(place: Place) -> Iterator[Result]:
    """One-file commits of the repository with 500 files."""
    folder = place.folder("publish")
    repo = folder / "repos" / "plain"
    place.say("making the repository")
    repositories.plain(repo, files=500, commits=2000)
    with forge.serve(repo.parent) as url, tracking.bundles(folder / "stock", [f"{url}/plain"]) as refresh:
        installed = installation(folder, {"plain": f"{url}/plain"})
        _publish(installed)
        ours, stock = [], []
        for number in range(_SAMPLES):
            place.say(f"commit {number + 1} of {_SAMPLES}")
            commit = change(repo, number)
            ours.append(_publish(installed))
            assert installed_head(installed, "plain") == commit
            stock.append(refresh()["seconds"])
    yield Result(
        "publish a one-file commit of the repository with 500 files",
        median(ours),
        median(stock),
        "s",
        f"{_MUST:g} s",
        median(ours) <= _MUST,
        "ours: look, fetch, pack, upload, move head. Stock: GitDagBundle.refresh, nothing that workers use.",
        {"ours": ours, "stock": stock},
    )


def change(repo: Path, number: int) -> str:
    """Push a commit that changes one DAG file of `repo`."""
    return repositories.commit(
        repo, {f"dags/team_000/bench_{number:05}.py": repositories.dag(number, 1_000_000 + time.time_ns())}
    )


def _publish(installed: Installation) -> float:
    begun = time.perf_counter()
    if Sync(installed).run(once=True):
        raise RuntimeError("sync failed")
    return time.perf_counter() - begun
