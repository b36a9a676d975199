"""A commit's files as one archive: checked, in one order, with one time, owner and set of modes.

The bytes depend on the commit and the settings alone (and on the version of zstd, which is pinned): not on the machine,
its umask, locale or clock, and not on attributes that Git would heed in a checkout or in ``git archive``.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from aerodrome import names
from aerodrome.config.model import Limits, Team
from aerodrome.store import Manifest
from aerodrome.sync import objects, paths
from aerodrome.sync.failures import MirrorDamaged, SnapshotRefused, names_for_people
from aerodrome.sync.objects import Blob, Commit, Objects

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TIME = 315532800
"""Modification time of every file: 1980-01-01, the earliest that a ZIP file can hold too. It means nothing."""

_LEVEL = 3
_BLOCK = 512
_BUFFER = 1 << 18
_LONGEST_LINK = 4096
_LARGEST_POINTER = 1024
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, "The Pointer"
_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec)/v1\n(?:ext-[^\n]+\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n?"
)


class Stopped(Exception):
    """Packing was given up because the process ends."""


@dataclass(frozen=True)
class File:
    """A file or symlink of a snapshot: its path, its mode in Git, its blob, and the mirror that holds the blob."""

    path: str
    mode: int
    id: str
    mirror: Path


@dataclass(frozen=True)
class Pointer:
    """A file that Git LFS keeps elsewhere: the path it stands at, the SHA-256 of its content and its size."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True)
class Listing:
    """The files of one commit of one repository, under the wanted paths.

    Attributes:
        submodules: path to commit, of what the commit names but does not hold.
        modules: id of the blob ``.gitmodules``, when there is one.
    """

    commit: Commit
    files: tuple[File, ...]
    submodules: Mapping[str, str]
    modules: str | None


@dataclass(frozen=True)
class Archive:
    """What was packed. ``digest`` is ``sha256:`` and hex digits; sizes in bytes."""

    path: Path
    digest: str
    size: int
    unpacked: int
    files: int

    def manifest(self, commit: Commit, settings: Mapping[str, object]) -> Manifest:
        """The record that the store keeps beside the archive."""
        return Manifest(
            snapshot=names.snapshot_id(commit.id, settings),
            commit=commit.id,
            author=commit.author,
            subject=commit.subject,
            time=_time(commit.time),
            digest=self.digest,
            size=self.size,
            unpacked=self.unpacked,
            files=self.files,
            settings=dict(settings),
        )


def settings(team: Team) -> dict[str, object]:
    """Those settings of `team` that change a snapshot's bytes, where they are not the default."""
    found: dict[str, object] = {}
    if team.paths is not None and "" not in team.paths:
        found["paths"] = sorted(set(team.paths))
    if team.submodules:
        found["submodules"] = True
    return found


def listing(
    source: Objects, mirror: Path, commit: str, *, wanted: Collection[str] | None, limits: Limits, under: str = ""
) -> Listing:
    """The files of `commit`.

    Args:
        wanted: folders or files, relative to the root of the snapshot; None means all.
        under: the path of the submodule that `commit` is of.

    Raises:
        SnapshotRefused: too many files, names that a snapshot can not hold, a wanted path that is not there.
        MirrorDamaged: an object is missing.
    """
    walk = _Walk(mirror, wanted, limits)
    found = source.commit(commit)
    level = [(under, found.tree)]
    while level:
        unique = list(dict.fromkeys(tree for _, tree in level))
        trees = dict(zip(unique, source.trees(unique), strict=True))
        level = [below for folder, tree in level for below in walk.visit(folder, trees[tree], top=folder == under)]
    paths.check_names(walk.names)
    if wanted is not None and not under:
        missing = {path for path in wanted if path and not walk.met(path)}
        if missing:
            raise SnapshotRefused(
                f"The commit has no {names_for_people(missing)}, which the team's `paths` names.",
                "Mend `paths` in aerodrome.yaml, or put the folder back.",
            )
    return Listing(found, tuple(walk.files), walk.submodules, walk.modules)


@dataclass
class _Walk:
    mirror: Path
    wanted: Collection[str] | None
    limits: Limits
    files: list[File] = field(default_factory=list)
    submodules: dict[str, str] = field(default_factory=dict)
    names: dict[bytes, bytes] = field(default_factory=dict)
    modules: str | None = None
    seen: int = 0

    def visit(self, folder: str, entries: Sequence[objects.Entry], *, top: bool) -> Iterator[tuple[str, str]]:
        """Note the files of one folder; give the folders below it that may hold wanted files."""
        prefix = f"{folder}/" if folder else ""
        self.seen += len(entries)
        # Folders count too: a small repository can hold a tree with more folders than any machine has memory for.
        if self.seen > self.limits.files * 4:
            self._too_many()
        for entry in entries:
            if top and entry.name == b".gitmodules" and entry.mode in (objects.FILE, objects.EXECUTABLE):
                self.modules = entry.id
            path = prefix + entry.name.decode(errors="surrogateescape")
            inside = self._inside(path)
            passage = entry.mode in (objects.TREE, objects.SUBMODULE) and self._leads_to_wanted(path)
            if not inside and not passage:
                continue
            self.names.setdefault(entry.name, prefix.encode(errors="surrogateescape"))
            if len(path) > 4096:
                paths.check_paths([path])
            if entry.mode == objects.TREE:
                yield path, entry.id
            elif entry.mode == objects.SUBMODULE:
                self.submodules[path] = entry.id
            else:
                self.files.append(File(path, entry.mode, entry.id, self.mirror))
                if len(self.files) > self.limits.files:
                    self._too_many()

    def met(self, path: str) -> bool:
        """Whether something was found at `path`."""
        return (
            any(file.path == path or file.path.startswith(path + "/") for file in self.files)
            or path in self.submodules
            or any(path.startswith(submodule + "/") for submodule in self.submodules)
        )

    def _inside(self, path: str) -> bool:
        return self.wanted is None or any(
            not wanted or path == wanted or path.startswith(wanted + "/") for wanted in self.wanted
        )

    def _leads_to_wanted(self, path: str) -> bool:
        return any(wanted.startswith(path + "/") for wanted in self.wanted or ())

    def _too_many(self) -> None:
        raise SnapshotRefused(
            f"The commit has more than {self.limits.files:,} files.",
            "Leave folders out with the team's `paths`, or raise `limits: {files: ...}`.",
        )


def pointers(files: Sequence[File], read: Callable[[Path], Objects]) -> list[Pointer]:
    """The files of `files` that are pointers of Git LFS.

    Args:
        read: opens the objects of a mirror.
    """
    found = []
    for mirror, group in groupby(files, key=lambda file: file.mirror):
        some = list(group)
        with read(mirror) as source:
            for file, blob in zip(some, source.blobs([file.id for file in some]), strict=True):
                if file.mode != objects.SYMLINK and blob.size <= _LARGEST_POINTER:
                    pointer = _pointer(file.path, blob.content())
                    if pointer is not None:
                        found.append(pointer)
    return found


def write(
    files: Sequence[File],
    to: Path,
    *,
    read: Callable[[Path], Objects],
    limits: Limits,
    large: Mapping[str, Path] | None = None,
    stop: threading.Event | None = None,
) -> Archive | None:
    """Pack `files` into the archive `to`.

    Args:
        files: in any order.
        read: opens the objects of a mirror.
        large: SHA-256 to file, of the contents that Git LFS keeps.
        stop: set to give up.

    Returns:
        The archive; None when a file is a pointer of Git LFS that `large` does not have (see :func:`pointers`).

    Raises:
        SnapshotRefused: a limit is exceeded, or a link leads out.
        MirrorDamaged: an object is missing.
        Stopped: `stop` was set.
    """
    ordered = sorted(files, key=lambda file: file.path.encode())
    paths.check_paths(file.path for file in ordered)
    links: dict[str, str] = {}
    with _Tar(to) as tar:
        for mirror, group in groupby(ordered, key=lambda file: file.mirror):
            some = list(group)
            with read(mirror) as source:
                for file, blob in zip(some, source.blobs([file.id for file in some]), strict=True):
                    if stop is not None and stop.is_set():
                        raise Stopped
                    if file.mode == objects.SYMLINK:
                        links[file.path] = _target(file, blob)
                        tar.link(file.path, links[file.path])
                        continue
                    _check_size(file.path, blob.size, tar.unpacked, limits)
                    mode = 0o755 if file.mode == objects.EXECUTABLE else 0o644
                    if blob.size > _LARGEST_POINTER:
                        tar.file(file.path, mode, blob.size, blob.chunks())
                        continue
                    content = blob.content()
                    pointer = _pointer(file.path, content)
                    if pointer is None:
                        tar.file(file.path, mode, len(content), (content,))
                    elif pointer.oid in (large or {}):
                        assert large is not None
                        _check_size(file.path, pointer.size, tar.unpacked, limits)
                        tar.file(file.path, mode, pointer.size, _content(pointer, large[pointer.oid]))
                    else:
                        return None
        paths.check_links(links)
        return tar.end(len(ordered))


def check_sizes(found: Sequence[Pointer], limits: Limits) -> None:
    """Refuse what Git LFS would bring, before it is fetched.

    Raises:
        SnapshotRefused: a file, or all together, exceed a limit.
    """
    total = 0
    for pointer in found:
        _check_size(pointer.path, pointer.size, total, limits)
        total += pointer.size


def people_size(count: int) -> str:
    """`count` bytes as people read them: ``1.5 MiB``."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


class _Tar:
    """A tar stream (POSIX.1-2001; plain ustar where that suffices) through zstd into a file. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._zstd = zstd.ZstdCompressor(level=_LEVEL)
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._size = 0
        self.unpacked = 0

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def file(self, path: str, mode: int, size: int, chunks: Iterator[bytes] | Sequence[bytes]) -> None:
        """Add a file of `size` bytes."""
        self._header(path, mode, size=size)
        for chunk in chunks:
            self._add(chunk)
        self._add(b"\0" * (-size % _BLOCK))
        self.unpacked += size

    def link(self, path: str, target: str) -> None:
        """Add a symlink."""
        self._header(path, 0o777, target=target)

    def end(self, files: int) -> Archive:
        """Finish the stream."""
        self._add(b"\0" * (2 * _BLOCK))
        self._write(self._zstd.compress(bytes(self._buffer)))
        self._write(self._zstd.flush())
        self._file.close()
        return Archive(self._path, f"sha256:{self._digest.hexdigest()}", self._size, self.unpacked, files)

    def _header(self, path: str, mode: int, *, size: int = 0, target: str = "") -> None:
        info = tarfile.TarInfo(path)
        info.mode, info.size, info.mtime = mode, size, TIME
        if target:
            info.type, info.linkname = tarfile.SYMTYPE, target
        self._add(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))

    def _add(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            self._write(self._zstd.compress(bytes(self._buffer)))
            self._buffer.clear()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)


def _target(file: File, blob: Blob) -> str:
    if blob.size > _LONGEST_LINK:
        raise SnapshotRefused(f"The symlink {file.path} has a target of {blob.size:,} bytes.", "Remove it.")
    try:
        return blob.content().decode()
    except UnicodeDecodeError:
        raise SnapshotRefused(f"The target of the symlink {file.path} is not UTF-8.", "Rename the target.") from None


def _check_size(path: str, size: int, before: int, limits: Limits) -> None:
    if size > limits.file:
        raise SnapshotRefused(
            f"{path} has {people_size(size)}; the largest file may have {people_size(limits.file)}.",
            "Keep it elsewhere, leave its folder out with the team's `paths`, or raise `limits: {file: ...}`.",
        )
    if before + size > limits.snapshot:
        raise SnapshotRefused(
            f"The files have more than {people_size(limits.snapshot)} together.",
            "Leave folders out with the team's `paths`, or raise `limits: {snapshot: ...}`.",
        )


def _pointer(path: str, content: bytes) -> Pointer | None:
    match = _POINTER.fullmatch(content)
    return Pointer(path, match[1].decode(), int(match[2])) if match else None


def _content(pointer: Pointer, path: Path) -> Iterator[bytes]:
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                if size > pointer.size:
                    break
                digest.update(chunk)
                yield chunk
    except OSError as error:
        raise MirrorDamaged(f"the LFS file {path} can not be read: {error.strerror}") from None
    if size != pointer.size or digest.hexdigest() != pointer.oid:
        raise MirrorDamaged(f"the LFS file {path} is damaged")


def _time(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)
