"""The bare, shallow repository that one team's commits are fetched into, and the question what its ref is at.

A mirror is a cache: whatever is wrong with it, it is thrown away and made again. It is locked while git works on it;
git's own processes inherit the lock, so that what a killed sync left running is never met by the next one: that takes a
fresh folder beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from aerodrome.config.model import Limits
from aerodrome.errors import AerodromeError
from aerodrome.names import COMMIT, nearest
from aerodrome.process import Completed, TimedOut
from aerodrome.sync.failures import (
    EmptyRepository,
    RefMissing,
    RepositoryFailure,
    SnapshotRefused,
    failure,
    names_for_people,
    too_slow,
)
from aerodrome.sync.git import Git
from aerodrome.sync.remote import Remote

LOOK = 30.0
"""Seconds that asking a repository for its refs may take."""

_TRACKED = "refs/aerodrome/tracked"
_EVERYTHING = 2147483647
"""git-fetch(1): the depth that means all of it."""
_DEEPER = (1, 100, _EVERYTHING)
_PATIENCE = 1.0
"""Seconds that children of a fetch which was just ended may take to let go of the lock."""
_MANY_PACKS = 50
_MANY_LOOSE = 27
"""Loose objects in one of 256 folders: git's own threshold (gc.auto 6700)."""
_WITHHELD = re.compile(
    r"unadvertised object|not our ref|no such remote ref|couldn't find remote ref|not found in.*upload-pack"
)

_FOREVER = re.compile(r"fsck error|File size limit exceeded|signal 25|File too large")
"""What the same commit will meet again, however often it is fetched."""


@dataclass(frozen=True)
class Tip:
    """What a ref is at: its full name (``refs/heads/main``), and the commit."""

    ref: str
    commit: str


def candidates(ref: str | None) -> tuple[str, ...]:
    """The full names that `ref` may mean, the likeliest first; None means what the remote's HEAD names."""
    if ref is None:
        return ("HEAD",)
    # A branch first, as `git clone --branch` does.
    return (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}")


def tip(refs: Mapping[str, str], ref: str | None) -> Tip | None:
    """What `ref` is at, as `refs` say: name to object id, ``NAME^{}`` where a tag leads, ``symref HEAD`` its branch."""
    for name in candidates(ref):
        if name in refs:
            full = refs.get("symref HEAD", name) if name == "HEAD" else name
            return Tip(full, refs.get(f"{name}^{{}}", refs[name]))
    return None


async def look(git: Git, remote: Remote, ref: str | None, extra: Mapping[str, str]) -> Tip:
    """What `ref` of `remote` is at: one small question, nothing is fetched.

    Args:
        ref: branch or tag, short or in full; None means what the remote's HEAD names.
        extra: environment from a :class:`~aerodrome.sync.credentials.Keyring`.

    Raises:
        RefMissing: the repository has no such ref (any more).
        EmptyRepository: it has none at all.
        RepositoryFailure: it could not be asked.
    """
    names = candidates(ref)
    patterns = [*names, *(f"{name}^{{}}" for name in names if name != "HEAD")]
    found = tip(await _ls_remote(git, remote, extra, "--symref", "--", remote.url, *patterns), ref)
    if found is None:
        raise await _missing(git, remote, ref, extra)
    return found


async def _missing(git: Git, remote: Remote, ref: str | None, extra: Mapping[str, str]) -> RepositoryFailure:
    refs = await _ls_remote(git, remote, extra, "--heads", "--tags", "--refs", "--", remote.url)
    if not refs:
        return EmptyRepository(f"{remote.url} is empty.", "Push a first commit.")
    heads = [name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/")]
    if ref is None:
        return RefMissing(
            f"The HEAD of {remote.url} names a branch that is not there; there are {names_for_people(heads)}.",
            "Set the default branch at the forge, or the team's `ref`.",
        )
    short = [re.sub("^refs/(heads|tags)/", "", name) for name in refs]
    near = nearest(ref, short)
    hint = f"did you mean {near}?" if near else f"there are {names_for_people(heads or short)}."
    return RefMissing(f"{remote.url} has no {ref} (any more); {hint}", "Set the team's `ref` to one that is there.")


async def _ls_remote(git: Git, remote: Remote, extra: Mapping[str, str], *arguments: str) -> dict[str, str]:
    doing = f"look at {remote.url}"
    try:
        done = await git.run("ls-remote", "--quiet", *arguments, timeout=LOOK, extra=extra)
    except TimedOut as error:
        raise too_slow(doing, error.seconds) from None
    if done.code:
        raise failure(doing, done.stderr.decode(errors="replace"))
    found: dict[str, str] = {}
    for line in done.stdout.decode(errors="surrogateescape").splitlines():
        value, tab, name = line.partition("\t")
        if value.startswith("ref: ") and name == "HEAD":
            found["symref HEAD"] = value.removeprefix("ref: ")
        elif tab and COMMIT.fullmatch(value):
            found[name] = value
    return found


class Mirrors:
    """The folder of all mirrors of one state folder.

    Args:
        git: how git is run.
        folder: made when missing.
    """

    def __init__(self, git: Git, folder: Path) -> None:
        self._git = git
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextlib.asynccontextmanager
    async def held(self, team: str, remote: Remote) -> AsyncIterator[Mirror]:
        """The mirror of `remote` for `team`, locked inside the ``with``.

        Teams do not share mirrors: what one may read another may not.
        """
        name = self._name(team, remote)
        lock, folder = await self._lock(name)
        mirror = Mirror(self._git, folder, lock)
        try:
            mirror.tidy()
            yield mirror
            mirror.at_rest()
        finally:
            mirror.archive.unlink(missing_ok=True)
            # Closed, not unlocked: a git that still runs keeps the lock.
            os.close(lock)

    def forget(self, keep: Collection[tuple[str, Remote]], families: Collection[str]) -> None:
        """Remove the mirrors that nobody works on, except those of `keep` and all those of the teams `families`."""
        names = {self._name(team, remote) for team, remote in keep}
        for folder in self._folder.glob("*.git"):
            name = folder.name.split(".")[0]
            if name in names or name.rpartition("-")[0] in families:
                continue
            with contextlib.suppress(OSError):
                lock = _try_lock(folder.with_suffix(".lock"))
                if lock is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.with_suffix(".lock").unlink(missing_ok=True)
                    os.close(lock)

    def _name(self, team: str, remote: Remote) -> str:
        return f"{team}-{hashlib.sha256(remote.url.encode()).hexdigest()[:12]}"

    async def _lock(self, name: str) -> tuple[int, Path]:
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            late = asyncio.get_running_loop().time() > deadline
            for number in range(8 if late else 1):
                path = self._folder / (f"{name}.{number}.lock" if number else f"{name}.lock")
                lock = _try_lock(path)
                if lock is not None:
                    return lock, path.with_suffix(".git")
            if late:
                raise RepositoryFailure(
                    f"All mirrors of {name} are in use by other processes.",
                    "Look for git processes that hang, and end them.",
                )
            await asyncio.sleep(0.02)


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


class Mirror:
    """A mirror that this process holds the lock of. Made by :meth:`Mirrors.held`."""

    def __init__(self, git: Git, folder: Path, lock: int) -> None:
        self._git = git
        self._lock = lock
        self.folder = folder
        self.archive = folder.with_suffix(".pack")
        """Where an archive is packed; what a killed process left there is removed."""
        self._busy = folder.with_suffix(".busy")

    def tidy(self) -> None:
        """Remove what a killed git or packer left, if this mirror was not left in order; mark it as in use."""
        if self._busy.exists():
            self.archive.unlink(missing_ok=True)
            for trash in self.folder.parent.glob(f"{self.folder.stem}.trash-*"):
                shutil.rmtree(trash, ignore_errors=True)
            for folder, _, names in os.walk(self.folder):
                for name in names:
                    if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-")):
                        (Path(folder) / name).unlink(missing_ok=True)
        else:
            self._busy.touch()

    def at_rest(self) -> None:
        """Note that nothing was left half done."""
        self._busy.unlink(missing_ok=True)

    async def discard(self) -> None:
        """Throw the mirror away; the next fetch makes it again."""
        trash = self.folder.with_suffix(f".trash-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(trash)
            await asyncio.to_thread(shutil.rmtree, trash, ignore_errors=True)

    async def fetch(self, remote: Remote, ref: str, commit: str, extra: Mapping[str, str], limits: Limits) -> str:
        """Fetch `ref`, which was at `commit` when it was looked at; shallow.

        Returns:
            The object that the ref is at by now (a commit, or a tag that leads to one).

        Raises:
            RefMissing: the ref went away.
            SnapshotRefused: git's check of what arrives refuses it, or it is larger than a snapshot may be.
            RepositoryFailure: anything else, after a second attempt with a new mirror if the old one may be the cause.
        """
        if self._tracked() == commit:
            return commit
        return await self._mended(remote, (f"+{ref}:{_TRACKED}",), commit, extra, limits)

    async def fetch_commit(self, remote: Remote, commit: str, extra: Mapping[str, str], limits: Limits) -> str:
        """Fetch `commit` by its id; where the server does not give out commits by id, by way of its branches and tags.

        Raises:
            RefMissing: no branch or tag of the repository leads to it.
            RepositoryFailure: it could not be fetched.
        """
        if self._tracked() == commit:
            return commit
        try:
            return await self._mended(remote, (f"+{commit}:{_TRACKED}",), commit, extra, limits)
        except RefMissing:
            everything = ("+refs/heads/*:refs/aerodrome/heads/*", "+refs/tags/*:refs/aerodrome/tags/*")
            for depth in _DEEPER:
                await self._mended(remote, everything, commit, extra, limits, depth=depth)
                if await self._pin(commit, limits):
                    return commit
        raise RefMissing(
            f"{remote.url} has no commit {commit} in any of its branches and tags.",
            "Mend the team's `ref` (or the submodule's commit), or push a branch or tag that holds it.",
        )

    async def tend(self, limits: Limits) -> None:
        """Pack and prune when many fetches left many files; nothing most of the time."""
        packs = len(list((self.folder / "objects/pack").glob("*.pack")))
        loose = len(list((self.folder / "objects/17").glob("*")))
        if packs < _MANY_PACKS and loose < _MANY_LOOSE:
            return
        try:
            done = await self._run("-c", "gc.packRefs=false", "gc", "--quiet", "--prune=now", timeout=limits.fetch)
        except TimedOut:
            done = None
        if done is None or done.code:
            await self.discard()

    async def _mended(
        self,
        remote: Remote,
        refspecs: tuple[str, ...],
        commit: str,
        extra: Mapping[str, str],
        limits: Limits,
        depth: int = 1,
    ) -> str:
        made = await self._make(len(commit))
        try:
            return await self._fetch(remote, refspecs, extra, limits, depth)
        except RefMissing:
            raise
        except RepositoryFailure as error:
            # It answered a moment ago when it was looked at. Whatever a damaged mirror makes git say, a new one mends.
            if made or error.throttled or error.slow:
                raise
            await self.discard()
            await self._make(len(commit))
            return await self._fetch(remote, refspecs, extra, limits, depth)

    async def _fetch(
        self, remote: Remote, refspecs: tuple[str, ...], extra: Mapping[str, str], limits: Limits, depth: int
    ) -> str:
        doing = f"fetch from {remote.url}"
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--force", "--no-auto-maintenance")
        arguments = ("fetch", *options, f"--depth={depth}", "--", remote.url, *refspecs)
        try:
            # A pack holds what is needed compressed; twice the limit leaves room for history where it is fetched.
            done = await self._run(*arguments, timeout=limits.fetch, extra=extra, largest_file=2 * limits.snapshot)
        except TimedOut as error:
            raise too_slow(doing, error.seconds) from None
        if done.code:
            said = done.stderr.decode(errors="replace")
            found = failure(doing, said)
            if _FOREVER.search(said):
                raise SnapshotRefused(found.what, found.remedy)
            raise RefMissing(found.what, found.remedy) if _WITHHELD.search(said) else found
        return self._tracked()

    def _tracked(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / _TRACKED).read_text().strip()
        return ""

    async def _pin(self, commit: str, limits: Limits) -> bool:
        done = await self._run("update-ref", _TRACKED, f"{commit}^{{commit}}", timeout=limits.fetch)
        return done.code == 0

    async def _run(
        self, *arguments: str, timeout: float, extra: Mapping[str, str] | None = None, largest_file: int | None = None
    ) -> Completed:
        return await self._git.run(
            "--git-dir",
            str(self.folder),
            *arguments,
            timeout=timeout,
            extra=extra,
            keep=(self._lock,),
            largest_file=largest_file,
        )

    async def _make(self, digits: int) -> bool:
        """Make the bare repository unless it is there. Returns: whether it had to be made."""
        config = self.folder / "config"
        wanted = f"[core]\n\trepositoryformatversion = {1 if digits == 64 else 0}\n\tbare = true\n"
        if digits == 64:
            wanted += "[extensions]\n\tobjectformat = sha256\n"
        with contextlib.suppress(OSError):
            if config.read_text().startswith(wanted) and (self.folder / "HEAD").exists():
                return False
        # By hand, and not by `git init`: no template, no process, and nothing that a newer git would add.
        await self.discard()
        try:
            for part in ("objects/info", "objects/pack", "refs/heads"):
                (self.folder / part).mkdir(parents=True)
            (self.folder / "HEAD").write_text("ref: refs/heads/none\n")
            config.write_text(wanted)
        except OSError as error:
            raise AerodromeError(
                f"The mirror {self.folder} can not be made: {error.strerror}.", "Make the state folder writable."
            ) from None
        return True
