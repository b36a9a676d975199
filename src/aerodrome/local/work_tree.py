"""The snapshot that a folder would make if everything in it were committed and pushed, without touching it."""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from aerodrome import process
from aerodrome.config import Config, Team
from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError
from aerodrome.local.repository import git
from aerodrome.store import Store
from aerodrome.store.records import Manifest
from aerodrome.sync.service import Sync

_TIMEOUT = 120.0
_AUTHOR = ("-c", "user.name=Aerodrome", "-c", "user.email=aerodrome@localhost", "-c", "commit.gpgsign=false")
# Files as they lie in the folder: what a filter would make of them is somewhere else (Git LFS).
_RAW = ("-c", "filter.lfs.clean=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")


@contextmanager
def snapshot(config: Config, team: Team, where: Path) -> Iterator[tuple[Path, Manifest]]:
    """The files of `team`'s repository at its ref, fetched and checked by sync itself; gone after the context.

    Args:
        config: where the store's and sync's other settings come from.
        where: a folder for temporary things.

    Raises:
        AerodromeError: sync's own words on what is wrong.
    """
    alone = config.model_copy(update={"store": None, "teams": (team,)})
    installation = Installation(alone, where / "aerodrome.yaml", where / "state")
    if Sync(installation).run(once=True) != 0:
        head = Store(installation.store_url).team(team.name).head()
        what, _, remedy = (head.error if head is not None and head.error else "it can not be fetched").partition("\n")
        raise AerodromeError(what, remedy or "Look at the repository and at its settings.")
    records = Store(installation.store_url).team(team.name)
    head = records.head()
    if head is None or head.snapshot is None:
        what, _, remedy = (head.error if head is not None and head.error else "it holds no commit").partition("\n")
        raise AerodromeError(what, remedy or "Commit something first.")
    if head.error:
        what, _, remedy = head.error.partition("\n")
        raise AerodromeError(what, remedy or "Mend it and check again.")
    root = where / "files"
    with tempfile.TemporaryFile(dir=where) as archive:
        manifest = records.download(head.snapshot, archive)
        archive.seek(0)
        _unpack(archive, root)
    yield root, manifest


def committed(folder: Path, where: Path) -> Path:
    """A bare repository in `where` whose only branch holds the files of `folder` as they are, committed or not.

    What Git ignores is left out, in a folder without a repository too. Nothing is written into `folder`.

    Raises:
        AerodromeError: git failed.
    """
    bare = where / "work-tree.git"
    git(where, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    head = ""
    try:
        top = Path(git(folder, "rev-parse", "--show-toplevel"))
    except AerodromeError:
        top = folder
    else:
        objects = (folder / git(folder, "rev-parse", "--git-path", "objects")).resolve()
        (bare / "objects" / "info" / "alternates").write_text(f"{objects}\n")
        try:
            head = git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
        except AerodromeError:
            head = ""  # a repository without a commit
    known = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env = {**known, "GIT_DIR": str(bare), "GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": str(bare / "index")}
    if head:
        _run(env, top, "read-tree", head)
    _run(env, top, *_RAW, "-c", "advice.addEmbeddedRepo=false", "add", "--all")
    tree = _run(env, top, "write-tree")
    commit = _run(env, top, *_AUTHOR, "commit-tree", tree, "-m", "The work tree")
    _run(env, top, "update-ref", "refs/heads/main", commit)
    return bare


def _run(env: dict[str, str], folder: Path, *arguments: str) -> str:
    done = process.run(["git", *arguments], timeout=_TIMEOUT, env=env, cwd=folder)
    if done.code != 0:
        raise AerodromeError(f"git failed in {folder}: {done.error}", "Look at what git says, and try again.")
    return done.stdout.decode(errors="replace").strip()


def _unpack(archive: IO[bytes], to: Path) -> None:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    with zstd.open(archive) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        tar.extractall(to, filter="data")
