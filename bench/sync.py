"""Row ``sync``: what it costs to watch 200 repositories in which nothing happens."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from aerodrome.store import Store, StoreUnavailable
from bench import forge, meter, repositories, tracking
from bench.place import Place, aerodrome, basic_environment, installation, program, wait
from bench.result import Result, median

_REPOS = 200
_POLL = 10
_WATCHED = 60.0
_STOCK = 20  # repositories of which the stock tool's cost is measured
_CORES = 0.5
_MEMORY = 200.0


def run(place: Place) -> Iterator[Result]:
    """200 repositories over http, each asked every 10 s."""
    folder = place.folder("sync")
    repos = folder / "repos"
    names = [f"team-{number:03}" for number in range(_REPOS)]
    place.say("making repositories")
    repositories.plain(repos / names[0], files=20, commits=50)
    for name in names[1:]:
        shutil.copytree(repos / names[0], repos / name)
    with forge.serve(repos) as url:
        installed = installation(folder, {name: f"{url}/{name}" for name in names}, sync={"poll": f"{_POLL}s"})
        store = Store(installed.store_url)
        log = folder / "sync.log"
        with program(aerodrome("sync", installed), basic_environment(folder / "home"), log) as child:
            place.say("publishing them for the first time")
            missing = set(names)

            def published() -> bool:
                with contextlib.suppress(StoreUnavailable):  # sync has not made it yet
                    for name in list(missing):
                        if not store.team(name).head():
                            return False
                        missing.discard(name)
                return not missing

            first = wait("all published", published, 300, child, log=log)
            place.say(f"watching for {_WATCHED:g} s")
            wait_a_round = meter.watch(child.pid, 2 * _POLL)  # the first rounds have their own pace
            usage = meter.watch(child.pid, _WATCHED)
        place.say(f"{_STOCK} GitDagBundles")
        with tracking.bundles(folder / "stock", [f"{url}/{name}" for name in names[:_STOCK]]) as refresh:
            refresh()
            costs = [refresh()["cpu"] * _REPOS / _STOCK / _POLL for _ in range(5)]
    yield Result(
        f"watch {_REPOS} repositories over http, nothing new, every {_POLL} s",
        round(usage.cores, 3),
        median(costs),
        "cores",
        f"{_CORES:g} cores",
        usage.cores <= _CORES,
        f"git's processes included. Stock: {_STOCK} GitDagBundles. First publication of all: {first:.0f} s",
        {"ours": [wait_a_round.cores, usage.cores], "stock": costs},
    )
    yield Result(
        "the memory of that, git's processes included",
        round(usage.peak, 1),
        None,
        "MB",
        f"{_MEMORY:g} MB",
        usage.peak <= _MEMORY,
        "peak of the process tree, shared pages counted once (PSS)",
    )
