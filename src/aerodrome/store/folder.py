"""Objects in a folder (``file://``), with the compare-and-swap that file systems do not have.

Every change is written aside in full, made durable, and renamed into place while an ``flock`` is held. The kernel drops
that lock with the process, so a writer that is killed leaves either the old object or the new one, and a file aside
that a later writer removes. Tags are digests of the content: modification times repeat within one tick of the kernel's
clock, and inode numbers are given again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from aerodrome.store.errors import StoreForbidden, StoreUnavailable
from aerodrome.store.objects import UNCHANGED, Entry, Objects, Unchanged

_OWN = ".aerodrome"
_CHUNK = 1 << 20
_ABANDONED = 3600.0  # seconds without a write, after which a file aside has no living writer
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderObjects(Objects):
    """Objects as files below `root`; a key is the relative path."""

    local = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._swept = False

    def read(self, key: str, tag: str | None = None) -> Entry | Unchanged | None:
        data = self._content(key)
        if data is None:
            return None
        found = _tag(data)
        return UNCHANGED if found == tag else Entry(data, found)

    def swap(self, key: str, data: bytes, tag: str | None) -> str | None:
        with self._written(key, data) as aside, self._locked():
            now = self._content(key)
            if (None if now is None else _tag(now)) != tag:
                return None
            self._rename(aside, key)
        return _tag(data)

    def write(self, key: str, data: bytes) -> None:
        with self._written(key, data) as aside, self._locked():
            self._rename(aside, key)

    def upload(self, key: str, path: Path) -> None:
        with self._written(key, path) as aside, self._locked():
            self._rename(aside, key)

    def delete(self, key: str) -> None:
        with self._errors(f"delete {key}"), self._locked(), contextlib.suppress(*_ABSENT):
            (self._root / key).unlink()

    def size(self, key: str) -> int | None:
        with self._errors(f"read {key}"):
            try:
                return (self._root / key).stat().st_size
            except _ABSENT:
                return None

    def list(self, folder: str) -> Iterator[str]:
        with self._errors(f"list {folder or 'everything'}"):
            found = list(self._walk(self._root / folder, folder))
        return iter(sorted(found, key=str.encode))

    def chunks(self, key: str) -> Generator[bytes, None, None] | None:
        with self._errors(f"read {key}"):
            try:
                file = (self._root / key).open("rb")
            except _ABSENT:
                return None
        return self._stream(file.fileno(), file, key)

    def _stream(
        self, descriptor: int, file: contextlib.AbstractContextManager[object], key: str
    ) -> Generator[bytes, None, None]:
        with file, self._errors(f"read {key}"):
            while chunk := os.read(descriptor, _CHUNK):
                yield chunk

    def _walk(self, path: Path, key: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(path))
        except _ABSENT:
            return
        for entry in entries:
            if not key and entry.name == _OWN:
                continue
            below = f"{key}/{entry.name}" if key else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path), below)
            else:
                yield below

    def _content(self, key: str) -> bytes | None:
        with self._errors(f"read {key}"):
            try:
                return (self._root / key).read_bytes()
            except _ABSENT:
                return None

    @contextlib.contextmanager
    def _written(self, key: str, source: bytes | Path) -> Iterator[Path]:
        """A durable file aside with the content of `source`; gone afterwards unless it was renamed."""
        with self._errors(f"write {key}"):
            folder = self._root / _OWN / "aside"
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep(folder)
            (self._root / key).parent.mkdir(parents=True, exist_ok=True)
            aside = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
            try:
                with aside.open("xb") as file:
                    if isinstance(source, bytes):
                        file.write(source)
                    else:
                        with source.open("rb") as content:
                            shutil.copyfileobj(content, file, _CHUNK)
                    file.flush()
                    os.fsync(file.fileno())
                yield aside
            finally:
                aside.unlink(missing_ok=True)

    def _rename(self, aside: Path, key: str) -> None:
        target = self._root / key
        aside.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        own = self._root / _OWN
        own.mkdir(parents=True, exist_ok=True)
        # a new open file each time: the lock then holds between threads as well
        lock = os.open(own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _sweep(self, folder: Path) -> None:
        """Remove, once in this process, what killed writers left aside."""
        if self._swept:
            return
        self._swept = True
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > _ABANDONED:
                    Path(entry.path).unlink()

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                remedy = "Free space on that disk; what was there before is unharmed."
            elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise StoreForbidden(
                    f"store file://{self._root}: can not {doing}: {reason}",
                    "Give this process's user the right to read and write that folder.",
                ) from error
            else:
                remedy = "Check that the disk is mounted and healthy; it is tried again."
            raise StoreUnavailable(f"store file://{self._root}: can not {doing}: {reason}", remedy) from error


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
