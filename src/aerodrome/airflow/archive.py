"""Unpacks the archive of a snapshot: a tar in zstd, taken as untrusted.

A loop of its own instead of ``tarfile``: seven times faster at many small files (as fast as GNU tar with zstd, and
without starting programs), and it can only do what a snapshot needs. Regular files, folders and symbolic links that
stay inside are made, anything else is refused. Links are made last, so that nothing is ever written through one. Owners
and times are ignored; of the modes only "executable" counts.

Format: POSIX.1-2001 pax (headers ``x`` and ``g``), and GNU's long names (``L`` and ``K``).
"""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 512
_CHUNK = 1 << 17
_LONGEST_HEADER = 1 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class BadArchive(Exception):
    """Not an archive that a snapshot can have."""


@dataclass(frozen=True)
class Content:
    """What was unpacked: number of files and links, and bytes in files."""

    files: int
    size: int


def unpack(archive: BinaryIO, folder: Path) -> Content:
    """Unpack `archive` into the empty folder `folder`, which nobody else uses.

    Raises:
        BadArchive: it can not be read, or holds what a snapshot must not hold. `folder` holds garbage then.
        OSError: the file system refuses.
    """
    base = os.fspath(folder) + "/"
    folders = {""}
    links: list[tuple[str, str]] = []
    files = size = 0
    tar = _Tar(archive)
    for name, kind, mode, length, target in _members(tar):
        parent, _, last = name.rpartition("/")
        if parent not in folders:
            _make_folder(base, parent, folders)
        if last in ("", ".", "..") or "\0" in last or name[0] == "/":
            raise BadArchive(f"{name!r} is no name inside a folder")
        if kind == b"5":
            if name not in folders:
                _make_folder(base, name, folders)
            continue
        files += 1
        if kind == b"2":
            links.append((name, target))
            continue
        size += length
        try:
            file = os.open(base + name, _CREATE, mode)
        except FileExistsError:
            raise BadArchive(f"{name!r} stands in it twice") from None
        try:
            _copy(tar, file, length)
        finally:
            os.close(file)
    for name, target in links:
        _make_link(base, name, target)
    for name, target in links:
        _check_link(base, name, target)
    return Content(files, size)


class _Tar:
    """The bytes of the tar, in the pieces that are asked for."""

    def __init__(self, archive: BinaryIO) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd

        self._archive = archive
        self._zstd = zstd.ZstdDecompressor()
        self._error = zstd.ZstdError
        self._data = b""
        self._at = 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        end = self._at + length
        if end > len(self._data):
            self._fill(length)
            end = length
        part = self._data[self._at : end]
        self._at = end
        return part

    def _fill(self, length: int) -> None:
        parts = [self._data[self._at :]]
        have = len(parts[0])
        while have < length:
            packed = self._archive.read(_CHUNK) if self._zstd.needs_input else b""
            if self._zstd.eof or (self._zstd.needs_input and not packed):
                raise BadArchive("it ends too early")
            try:
                parts.append(self._zstd.decompress(packed, _CHUNK))
            except self._error as error:
                raise BadArchive(f"it can not be decompressed: {error}") from None
            have += len(parts[-1])
        self._data = b"".join(parts)
        self._at = 0


def _members(tar: _Tar) -> Iterator[tuple[str, bytes, int, int, str]]:
    """Name (unchecked), kind (file 0, link 2, folder 5), mode, bytes and link target of each member.

    The caller must take exactly the content and its padding of each file before the next one is asked for.
    """
    extra: dict[str, str] = {}
    while True:
        header = tar.take(_BLOCK)
        if header[0] == 0:
            return
        try:
            length = int(header[124:136].rstrip(b" \0") or b"0", 8)
            if length < 0 or header[257:262] != b"ustar":
                raise ValueError
            executable = int(header[100:108].rstrip(b" \0") or b"0", 8) & 0o100
        except ValueError:
            raise BadArchive("a header is damaged") from None
        kind = header[156:157]
        if kind in b"xgLK":
            if length > _LONGEST_HEADER:
                raise BadArchive("a header is too long")
            data = tar.take(length)
            tar.take(-length % _BLOCK)
            if kind == b"x":
                extra |= _pax(data)
            elif kind != b"g":  # a global header holds what git-archive says about the commit
                extra["path" if kind == b"L" else "linkpath"] = _text(data.rstrip(b"\0"))
            continue
        name = extra.get("path") or _name(header)
        target = ""
        if kind == b"\0":
            kind = b"0"
        elif kind != b"0":
            if kind not in (b"2", b"5"):
                raise BadArchive(f"{name!r} is neither file, folder nor symbolic link")
            target = extra.get("linkpath") or _text(header[157:257].split(b"\0", 1)[0])
            length = 0
        if extra:
            if kind == b"0" and "size" in extra:
                if not extra["size"].isdecimal():
                    raise BadArchive("a header is damaged")
                length = int(extra["size"])
            extra = {}
        if kind == b"5":
            name = name.rstrip("/")
            if name in ("", "."):
                continue
        yield name.removeprefix("./"), kind, 0o777 if executable else 0o666, length, target


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[345] and header[262] == 0:  # GNU's headers have other things there
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return _text(name)


def _pax(data: bytes) -> dict[str, str]:
    records = {}
    try:
        while data:
            length = int(data[: data.index(b" ")])
            key, value = data[data.index(b" ") + 1 : length - 1].split(b"=", 1)
            if length < 5 or data[length - 1 : length] != b"\n":
                raise ValueError
            records[key.decode()] = _text(value)
            data = data[length:]
    except ValueError:
        raise BadArchive("a header is damaged") from None
    return records


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _make_folder(base: str, name: str, folders: set[str]) -> None:
    parent, _, last = name.rpartition("/")
    if last in ("", ".", "..") or "\0" in last or name[0] == "/":
        raise BadArchive(f"{name!r} is no name inside a folder")
    if parent not in folders:
        _make_folder(base, parent, folders)
    try:
        os.mkdir(base + name)  # noqa: PTH102 - a Path for each of thousands costs more than the call
    except FileExistsError:
        raise BadArchive(f"{name!r} is a file and a folder") from None
    folders.add(name)


def _make_link(base: str, name: str, target: str) -> None:
    if not target or "\0" in target:
        raise BadArchive(f"{name!r} is a link to nothing")
    try:
        Path(base, name).symlink_to(target)
    except FileExistsError:
        raise BadArchive(f"{name!r} stands in it twice") from None


def _check_link(base: str, name: str, target: str) -> None:
    """Follow the link with all others in place: what leads inside by its letters may lead out through another link."""
    root = os.path.realpath(base)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if (
        target.startswith("/")
        or inside.split("/")[0] == ".."
        or os.path.commonpath([root, os.path.realpath(base + name)]) != root
    ):
        raise BadArchive(f"{name!r} is a link that leads out: {target!r}")


def _copy(tar: _Tar, file: int, length: int) -> None:
    padding = -length % _BLOCK
    while length > _CHUNK:
        _write(file, tar.take(_CHUNK))
        length -= _CHUNK
    _write(file, tar.take(length + padding)[:length])


def _write(file: int, data: bytes) -> None:
    done = os.write(file, data) if data else 0
    while done < len(data):
        done += os.write(file, data[done:])
