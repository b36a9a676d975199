"""Files that Git LFS keeps beside a repository, fetched by the git-lfs program and checked against their pointers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from aerodrome.config.model import Limits
from aerodrome.process import TimedOut
from aerodrome.sync.failures import SnapshotRefused, failure, names_for_people, reason, too_slow
from aerodrome.sync.git import Git
from aerodrome.sync.remote import Remote
from aerodrome.sync.snapshot import Pointer


async def fetch(
    git: Git,
    mirror: Path,
    remote: Remote,
    commit: str,
    wanted: Sequence[Pointer],
    extra: Mapping[str, str],
    limits: Limits,
) -> dict[str, Path]:
    """The files behind the pointers `wanted` of `commit`, by their SHA-256.

    What the repository itself says about LFS (``.lfsconfig``: another server, files left out) has no effect.

    Raises:
        SnapshotRefused: there is no git-lfs program.
        RepositoryFailure: the LFS server does not give a file.
    """
    store = mirror / "lfs/objects"
    found = {pointer.oid: store / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid for pointer in wanted}
    if all(path.exists() for path in found.values()):
        return found
    if shutil.which("git-lfs") is None:
        raise SnapshotRefused(
            f"Git LFS keeps the content of {names_for_people({pointer.path for pointer in wanted})}, "
            "and there is no `git-lfs` program where sync runs.",
            "Install it there (apt-get install git-lfs), or commit the files themselves.",
        )
    config = {
        "remote.origin.url": remote.url,
        "lfs.basictransfersonly": "true",
        "lfs.concurrenttransfers": "4",
        "lfs.activitytimeout": "30",
        "lfs.skipdownloaderrors": "false",
        "lfs.fetchrecentalways": "false",
    }
    if remote.scheme in ("https", "http"):
        # Where git-lfs looks by itself (its docs/api/server-discovery.md); said aloud, it beats .lfsconfig.
        base = remote.url.rstrip("/")
        config["lfs.url"] = (base if base.endswith(".git") else base + ".git") + "/info/lfs"
    doing = f"fetch LFS files from {remote.url}"
    arguments = ("--git-dir", str(mirror), "lfs", "fetch", "--include=", "--exclude=", "origin", commit)
    try:
        done = await git.run(
            *arguments, timeout=limits.fetch, extra=extra, config=config, largest_file=limits.file + (1 << 20)
        )
    except TimedOut as error:
        raise too_slow(doing, error.seconds) from None
    said = (done.stderr + b"\n" + done.stdout).decode(errors="replace")
    if done.code:
        raise failure(doing, said)
    if absent := {pointer.path for pointer in wanted if not found[pointer.oid].exists()}:
        raise failure(f"{doing}: {names_for_people(absent)}", f"fatal: not found ({reason(said)})")
    _tidy(store, {path.name for path in found.values()})
    return found


def _tidy(store: Path, keep: set[str]) -> None:
    """Remove what earlier commits needed."""
    for path in store.glob("??/??/*"):
        if path.name not in keep:
            path.unlink(missing_ok=True)
