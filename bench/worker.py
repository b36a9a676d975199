"""Row ``worker``: a fresh worker gets the files of a pinned commit, beside GitDagBundle on the same medium."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aerodrome.config.airflow_settings import BUNDLE
from aerodrome.config.installation import Installation
from aerodrome.store import Store
from bench import forge, repositories
from bench.place import Place, answer, basic_environment, installation, medium, publish
from bench.result import Result, median

GIT = "airflow.providers.git.bundles.git.GitDagBundle"
_SAMPLES = {"heavy": 3, "plain": 7}
_WORK = {"heavy": "5,000 files (10 MB), 210 MB of history", "plain": "500 files, 2,000 commits"}
_MUST = {"tmpfs": 20.0, "disk": 1.5}


def run(place: Place) -> Iterator[Result]:
    """Both repositories on both media."""
    folder = place.folder("worker")
    repos = folder / "repos"
    place.say("making repositories")
    repositories.plain(repos / "tiny", files=1, commits=1)
    repositories.plain(repos / "plain", files=500, commits=2000)
    repositories.heavy(repos / "heavy")
    with forge.serve(repos) as url:
        place.say("publishing them")
        installed = installation(folder, {name: f"{url}/{name}" for name in ("tiny", "plain", "heavy")})
        publish(installed)
        for name in ("heavy", "plain"):
            for parent in (place.memory, place.disk):
                if parent is not None:
                    yield _measure(place, installed, url, name, parent)


def _measure(place: Place, installed: Installation, url: str, name: str, parent: Path) -> Result:
    kind = medium(parent)
    heads = {team: installed_head(installed, team) for team in ("tiny", name)}
    store = Store(installed.store_url).team(name)
    manifest = store.manifest(heads[name])
    assert manifest
    ours: list[float] = []
    stock: list[float] = []
    reads: list[float] = []
    for number in range(_SAMPLES[name]):
        place.say(f"{_WORK[name]} on {kind}: {number + 1} of {_SAMPLES[name]}")
        found = _fetch(
            parent,
            BUNDLE,
            {team: {"name": team, "version": heads[team], "store": installed.store_url} for team in heads},
            name,
            installed,
        )
        assert found["files"] == manifest.files, found
        ours.append(found["seconds"])
        reads.append(found["read"])
        found = _fetch(
            parent,
            GIT,
            {
                team: {"name": team, "version": heads[team], "repo_url": f"{url}/{team}", "tracking_ref": "main"}
                for team in heads
            },
            name,
            installed,
        )
        assert found["files"] == manifest.files, found
        stock.append(found["seconds"])
    must = _MUST["tmpfs" if kind == "tmpfs" else "disk"]
    once = manifest.size <= max(reads) <= manifest.size + 4096  # with the manifest
    return Result(
        f"fresh worker, {_WORK[name]}, {kind}",
        median(ours),
        median(stock),
        "s",
        f"{must:g}x; reads the archive once",
        median(stock) / median(ours) >= must and once,
        f"read {max(reads):,.0f} bytes of the store; the archive has {manifest.size:,}",
        {"ours": ours, "stock": stock},
    )


def installed_head(installed: Installation, team: str) -> str:
    """The snapshot that the team's head is at."""
    head = Store(installed.store_url).team(team).head()
    assert head
    assert head.snapshot
    return head.snapshot


def _fetch(
    parent: Path, classpath: str, bundles: dict[str, dict[str, object]], name: str, installed: Installation
) -> dict[str, float]:
    storage = Path(tempfile.mkdtemp(prefix="aerodrome-bench-", dir=parent))
    env = {
        **basic_environment(storage / "home"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(storage / "bundles"),
        # GitDagBundle asks for this connection; from the environment it is had at once
        "AIRFLOW_CONN_GIT_DEFAULT": "git://",
    }
    try:
        values = [json.dumps(bundles["tiny"]), json.dumps(bundles[name]), str(installed.state / "store")]
        return answer([sys.executable, "-m", "bench.fetch", classpath, *values], env)
    finally:
        shutil.rmtree(storage)
