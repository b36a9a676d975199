"""A commit on its way from its repository into the store: fetched, packed, uploaded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from logging import LoggerAdapter
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from aerodrome.config.model import Team
from aerodrome.names import COMMIT, short
from aerodrome.store import Manifest, Store, TeamStore
from aerodrome.sync import lfs, snapshot, submodules
from aerodrome.sync.credentials import Keyring
from aerodrome.sync.failures import MirrorDamaged, RepositoryFailure
from aerodrome.sync.git import Git
from aerodrome.sync.mirror import Mirror, Mirrors, Tip
from aerodrome.sync.objects import Objects
from aerodrome.sync.pokes import Pokes
from aerodrome.sync.remote import Remote
from aerodrome.sync.slots import Slots
from aerodrome.sync.snapshot import Archive, File
from aerodrome.sync.submodules import Source

R = TypeVar("R")
Log = LoggerAdapter[Any]


@dataclass(frozen=True)
class Shared:
    """What all teams of one process share."""

    store: Store
    git: Git
    mirrors: Mirrors
    secrets: Path
    looks: Slots
    fetches: Slots
    threads: Executor
    pokes: Pokes
    stop: Event

    async def in_thread(self, function: Callable[..., R], *arguments: object) -> R:
        """`function` in a thread: for the store, and for what computes."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)


@dataclass
class Publication:
    """Publishes commits of one team.

    Args:
        team: whose.
        keyring: opens its repository.
        settings: those of :func:`aerodrome.sync.snapshot.settings`.
    """

    team: Team
    keyring: Keyring
    settings: Mapping[str, object]
    shared: Shared
    log: Log
    _held: dict[str, Mirror] = field(default_factory=dict)

    @property
    def store(self) -> TeamStore:
        """The team's part of the store."""
        return self.shared.store.team(self.team.name)

    async def publish(self, tip: Tip) -> Manifest:
        """Publish what `tip` is at; a mirror that is damaged is made again.

        Returns:
            The manifest. Its commit is another one than that of `tip` when the ref moved in the meantime.

        Raises:
            RepositoryFailure: it could not be fetched.
            SnapshotRefused: it can not be a snapshot.
            StoreUnavailable: it could not be uploaded.
        """
        try:
            return await self._attempt(tip)
        except MirrorDamaged as damage:
            self.log.warning("the mirror is damaged and made again: %s", damage, extra={"commit": tip.commit})
        try:
            return await self._attempt(tip)
        except MirrorDamaged as damage:
            raise RepositoryFailure(
                f"{self.keyring.remote.url} gives out a damaged commit {tip.commit}: {damage}.",
                "Run `git fsck` in the repository.",
            ) from None

    async def _attempt(self, tip: Tip) -> Manifest:
        begun = time.monotonic()
        async with self.shared.fetches.one(self.team.name), contextlib.AsyncExitStack() as stack:
            self._held = {}
            try:
                root = await self._fetch(stack, self.keyring.remote, tip)
                sources = [root]
                if self.team.submodules and root.listing.submodules:

                    async def fetch(remote: Remote, commit: str, under: str) -> Source:
                        return await self._fetch(stack, remote, Tip(commit, commit), under)

                    sources = await submodules.resolve(self.shared.git, root, fetch, self.team.limits)
                elif root.listing.submodules:
                    left_out = ", ".join(sorted(root.listing.submodules)[:5])
                    self.log.info("submodules are left out (%s)", left_out, extra={"commit": root.listing.commit.id})
                fetched = time.monotonic()
                archive = await self._pack(root.mirror.archive, sources)
            except MirrorDamaged:
                for mirror in self._held.values():
                    await mirror.discard()
                raise
            packed = time.monotonic()
            manifest = archive.manifest(root.listing.commit, self.settings)
            await self.shared.in_thread(self.store.publish, archive.path, manifest)
            self._tell(archive, manifest, fetched - begun, packed - fetched, time.monotonic() - packed)
            for mirror in self._held.values():
                await mirror.tend(self.team.limits)
        return manifest

    def _tell(self, archive: Archive, manifest: Manifest, fetch: float, pack: float, upload: float) -> None:
        size = f"{snapshot.people_size(archive.size)} packed, {snapshot.people_size(archive.unpacked)} unpacked"
        took = f"fetch {fetch:.2f} s, pack {pack:.2f} s, upload {upload:.2f} s"
        self.log.info(
            "published %s: %d files, %s; %s",
            short(manifest.snapshot),
            archive.files,
            size,
            took,
            extra={"commit": manifest.commit},
        )

    async def _fetch(self, stack: contextlib.AsyncExitStack, remote: Remote, tip: Tip, under: str = "") -> Source:
        """Fetch into the mirror of `remote`, which stays held until `stack` ends, and list the files."""
        limits = self.team.limits
        mirror = self._held.get(remote.url)
        if mirror is None:
            mirror = await stack.enter_async_context(self.shared.mirrors.held(self.team.name, remote))
            self._held[remote.url] = mirror
        if self.keyring.needs_renewal:
            await self.shared.in_thread(self.keyring.renew)
        with self.keyring.lent(remote) as extra:
            if COMMIT.fullmatch(tip.ref):
                found = await mirror.fetch_commit(remote, tip.commit, extra, limits)
            else:
                found = await mirror.fetch(remote, tip.ref, tip.commit, extra, limits)
        wanted = self.team.paths

        def read() -> snapshot.Listing:
            with self._objects(mirror.folder) as objects:
                return snapshot.listing(
                    objects, mirror.folder, found or tip.commit, wanted=wanted, limits=limits, under=under
                )

        return Source(remote, mirror, await self.shared.in_thread(read), under)

    async def _pack(self, to: Path, sources: list[Source]) -> Archive:
        files = [file for source in sources for file in source.listing.files]

        def write(large: Mapping[str, Path] | None = None) -> Archive | None:
            return snapshot.write(
                files, to, read=self._objects, limits=self.team.limits, large=large, stop=self.shared.stop
            )

        archive = await self.shared.in_thread(write)
        if archive is None:
            archive = await self.shared.in_thread(write, await self._large_files(files, sources))
        if archive is None:
            raise MirrorDamaged("an LFS file is missing")
        return archive

    async def _large_files(self, files: list[File], sources: list[Source]) -> dict[str, Path]:
        """The files that Git LFS keeps, fetched from the repository that each pointer is of."""
        limits = self.team.limits
        found = await self.shared.in_thread(lambda: snapshot.pointers(files, self._objects))
        snapshot.check_sizes(found, limits)
        where = {file.path: file.mirror for file in files}
        large: dict[str, Path] = {}
        for source in sources:
            wanted = [pointer for pointer in found if where[pointer.path] == source.mirror.folder]
            if not wanted:
                continue
            with self.keyring.lent(source.remote) as extra:
                commit = source.listing.commit.id
                large |= await lfs.fetch(
                    self.shared.git, source.mirror.folder, source.remote, commit, wanted, extra, limits
                )
        return large

    def _objects(self, folder: Path) -> Objects:
        return Objects(self.shared.git, folder, timeout=self.team.limits.fetch)
