"""Git repositories of a known shape, the same at every run."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

_TIME = 1_700_000_000
_AUTHOR = "Bench <bench@example.com>"

# About as compressible as real code.
_WORDS = (
    "account amount batch branch bucket cluster column commit count customer daily date day delay event export "
    "file filter frame group hour index insert invoice key ledger limit list load market merge month name "
    "offset order owner page partition payment path price query queue rate record region report result row "
    "sample schema select sink source state stream sum table tag target task time topic total type unit update "
    "user value view week window write year "
)

_DAG = '''"""{doc}"""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task

REVISION = {revision}


@dag(dag_id="{dag_id}", schedule=None, start_date=pendulum.datetime(2026, 1, 1), tags=["bench"])
def pipeline() -> None:
    @task
    def extract() -> int:
        return REVISION

    @task(retries=2)
    def load(rows: int) -> None:
        print(rows)

    load(extract())


pipeline()
'''


def dag(number: int, revision: int, size: int = 0) -> bytes:
    """A DAG file.

    Args:
        number: its dag_id is ``bench_NUMBER``.
        revision: changes its bytes.
        size: bytes that it is filled up to.
    """
    text = _DAG.format(dag_id=f"bench_{number:05}", doc=f"Pipeline {number} of the bench.", revision=revision)
    chance = random.Random(number)
    while len(text) < size:
        text += f"# {' '.join(chance.choices(_WORDS.split(), k=12))}\n"
    return text.encode()


def plain(path: Path, *, files: int, commits: int) -> None:
    """A bare repository of `files` DAG files and `commits` commits, each after the first changing one file."""
    _fast_import(path, _history(files, commits, size=0, blobs=0))


def heavy(path: Path) -> None:
    """A bare repository with about 210 MB of history (200 incompressible files of 1 MB, all deleted again), and 5,000
    files of 2 kB in its last commit.
    """
    _fast_import(path, _history(5000, 3000, size=2050, blobs=200))


def commit(path: Path, changes: dict[str, bytes], message: str = "Change") -> str:
    """Add a commit to the bare repository at `path`, as a push does: all at once. Gives its id."""
    parts = [_commit(message, _TIME + random.randrange(1 << 24), "refs/heads/main^0")]
    parts += [_file(name, data) for name, data in changes.items()]
    _fast_import(path, iter(parts))
    return git(path, "rev-parse", "main")


def git(path: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git in `path` without the machine's configuration; gives what it printed."""
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", "-C", str(path), *arguments], input=stdin, env=env, check=True, capture_output=True)
    return done.stdout.decode().strip()


def _history(files: int, commits: int, size: int, blobs: int) -> Iterator[bytes]:
    chance = random.Random(20260131)
    yield _commit("Begin", _TIME, None)
    for number in range(files):
        yield _file(f"dags/team_{number // 50:03}/bench_{number:05}.py", dag(number, 0, size))
    every = max(1, commits // blobs) if blobs else 0
    made: list[str] = []
    for index in range(1, commits):
        last = index == commits - 1
        yield _commit(f"Change {index}", _TIME + 60 * index, None)
        number = chance.randrange(files)
        yield _file(f"dags/team_{number // 50:03}/bench_{number:05}.py", dag(number, index, size))
        if blobs and index % every == 0 and len(made) < blobs and not last:
            made.append(f"data/{len(made):03}.bin")
            yield _file(made[-1], chance.randbytes(1 << 20))
        if last:
            yield from (b"D " + name.encode() + b"\n" for name in made)


def _commit(message: str, when: int, parent: str | None) -> bytes:
    text = f"commit refs/heads/main\ncommitter {_AUTHOR} {when} +0000\ndata {len(message)}\n{message}\n"
    if parent:
        text += f"from {parent}\n"
    return text.encode()


def _file(name: str, data: bytes) -> bytes:
    return b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data)


def _fast_import(path: Path, stream: Iterator[bytes]) -> None:
    if not path.exists():
        path.mkdir(parents=True)
        git(path, "init", "--quiet", "--bare", "--initial-branch=main", ".")
        git(path, "config", "http.receivepack", "true")
    with subprocess.Popen(
        ["git", "-C", str(path), "fast-import", "--quiet", "--date-format=raw"], stdin=subprocess.PIPE
    ) as child:
        assert child.stdin
        for part in stream:
            child.stdin.write(part)
        child.stdin.close()
    if child.returncode:
        raise RuntimeError(f"git fast-import ended with {child.returncode}")
