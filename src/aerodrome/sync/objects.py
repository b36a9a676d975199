"""Git's objects, read from a mirror and verified: what is handed out has the hash that it was asked by.

One ``git cat-file --batch`` for everything, and no checkout: attributes, filters and line ends of the machine or of the
repository can not change a byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from aerodrome.names import COMMIT
from aerodrome.sync.failures import MirrorDamaged, SnapshotRefused
from aerodrome.sync.git import Git

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 1 << 20
_BATCH = 256
"""Questions that wait for an answer at once: few enough for the pipe (64 KiB), so that neither side ever waits for the
other."""
_LARGEST_TREE = 64 << 20
_LARGEST_COMMIT = 1 << 20

FILE, EXECUTABLE, SYMLINK, SUBMODULE, TREE = 0o100644, 0o100755, 0o120000, 0o160000, 0o040000


@dataclass(frozen=True)
class Entry:
    """A line of a tree: mode (one of the five above), name, object id."""

    mode: int
    name: bytes
    id: str


@dataclass(frozen=True)
class Commit:
    """What a snapshot's manifest tells of its commit. ``time``: seconds since 1970, of the committer."""

    id: str
    tree: str
    author: str
    subject: str
    time: int


class Blob:
    """A blob that is being read. ``size`` is known before the content; :meth:`chunks` must be read to its end."""

    def __init__(self, id: str, size: int, objects: Objects) -> None:
        self.id = id
        self.size = size
        self._objects = objects
        self._done = False

    def chunks(self) -> Iterator[bytes]:
        """The content, in pieces of 1 MiB."""
        digest = _digest(self.id, b"blob", self.size)
        left = self.size
        while left:
            chunk = self._objects._read(min(left, _CHUNK))
            left -= len(chunk)
            digest.update(chunk)
            yield chunk
        self._objects._end(self.id, digest)
        self._done = True

    def content(self) -> bytes:
        """The whole content: for blobs whose size was looked at."""
        return b"".join(self.chunks())

    def skip(self) -> None:
        """Read what is left, so that the next object can be read."""
        if not self._done:
            for _ in self.chunks():
                pass


class Objects:
    """The objects of one mirror. A context manager; not thread-safe.

    Every method raises :class:`MirrorDamaged` when an object is missing or is not what its id says.

    Args:
        timeout: seconds that everything inside the ``with`` may take.
    """

    def __init__(self, git: Git, folder: Path, *, timeout: float) -> None:
        self._dialog = git.dialog("--git-dir", str(folder), "cat-file", "--batch", timeout=timeout)
        self._timeout = timeout

    def __enter__(self) -> Objects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dialog.__exit__(kind, error, trace)

    def commit(self, name: str) -> Commit:
        """The commit that `name` (an object id, of a tag too) leads to.

        Raises:
            SnapshotRefused: it leads to something else.
        """
        self._ask(f"{name}^{{}}")
        id, kind, size = self._header(name)
        if kind != "commit":
            raise SnapshotRefused(f"{name} is a {kind}, not a commit.", "Name a branch, a tag of a commit or a commit.")
        return _parse_commit(id, self._whole(id, kind, size, _LARGEST_COMMIT))

    def trees(self, ids: Sequence[str]) -> Iterator[list[Entry]]:
        """The entries of each tree of `ids`, in that order."""
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            self._ask(*batch)
            for id in batch:
                _, kind, size = self._header(id)
                if kind != "tree":
                    raise MirrorDamaged(f"{id} is a {kind}, not a tree")
                try:
                    yield _parse_tree(self._whole(id, kind, size, _LARGEST_TREE), len(id) // 2)
                except ValueError:
                    raise SnapshotRefused(
                        f"The tree {id} is not one that git would write.", "Look at it with `git fsck --strict`."
                    ) from None

    def blobs(self, ids: Sequence[str]) -> Iterator[Blob]:
        """Each blob of `ids`, in that order; what was not read of one is skipped when the next is asked for."""
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            self._ask(*batch)
            for id in batch:
                _, kind, size = self._header(id)
                if kind != "blob":
                    raise MirrorDamaged(f"{id} is a {kind}, not a blob")
                blob = Blob(id, size, self)
                yield blob
                blob.skip()

    def _ask(self, *names: str) -> None:
        try:
            self._dialog.stdin.write(("\n".join(names) + "\n").encode())
            self._dialog.stdin.flush()
        except BrokenPipeError:
            raise self._broken() from None

    def _header(self, asked: str) -> tuple[str, str, int]:
        line = self._dialog.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._broken()
        words = line.decode(errors="replace").split()
        if len(words) != 3:
            raise MirrorDamaged(f"object {asked} is {words[-1] if words else 'missing'}")
        return words[0], words[1], int(words[2])

    def _whole(self, id: str, kind: str, size: int, largest: int) -> bytes:
        if size > largest:
            raise SnapshotRefused(
                f"The {kind} {id} has {size:,} bytes; at most {largest:,} are read.", "Use smaller folders."
            )
        data = self._read(size)
        digest = _digest(id, kind.encode(), size)
        digest.update(data)
        self._end(id, digest)
        return data

    def _read(self, size: int) -> bytes:
        data = self._dialog.stdout.read(size)
        if len(data) < size:
            raise self._broken()
        return data

    def _end(self, id: str, digest: _Hash) -> None:
        if self._read(1) != b"\n" or digest.hexdigest() != id:
            raise MirrorDamaged(f"object {id} has other content than its id says")

    def _broken(self) -> Exception:
        if self._dialog.expired:
            return SnapshotRefused(
                f"The snapshot was not packed within {self._timeout:g} s.",
                "Make it smaller with the team's `paths`, or raise `limits: {fetch: ...}`.",
            )
        return MirrorDamaged(self._dialog.complaint() or "git cat-file ended")


def _digest(id: str, kind: bytes, size: int) -> _Hash:
    header = b"%s %d\0" % (kind, size)
    # Git's own names for content, not a protection of ours; SHA-1 where the repository has it.
    return hashlib.sha256(header) if len(id) == 64 else hashlib.sha1(header, usedforsecurity=False)


def _parse_tree(data: bytes, id_size: int) -> list[Entry]:
    entries = []
    position = 0
    while position < len(data):
        space = data.index(b" ", position)
        end = data.index(b"\0", space)
        mode = int(data[position:space], 8)
        # Git's own canonical modes (canon_mode in its source): old trees hold 100664 and others.
        kind = mode & 0o170000
        if kind == 0o100000:
            mode = EXECUTABLE if mode & 0o100 else FILE
        elif kind == 0o040000:
            mode = TREE
        elif kind == 0o120000:
            mode = SYMLINK
        else:
            mode = SUBMODULE
        entries.append(Entry(mode, data[space + 1 : end], data[end + 1 : end + 1 + id_size].hex()))
        position = end + 1 + id_size
    return entries


def _parse_commit(id: str, data: bytes) -> Commit:
    head, _, message = data.partition(b"\n\n")
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key and key not in fields:
            fields[key] = value
    encoding = fields.get(b"encoding", b"utf-8").decode("ascii", "replace")

    def text(value: bytes) -> str:
        try:
            found = value.decode(encoding)
        except (LookupError, ValueError):
            found = value.decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() or letter.isspace() else "?" for letter in found)

    author = text(fields.get(b"author", b"")).partition(" <")[0].strip()
    subject = " ".join(text(message).strip().partition("\n\n")[0].split())
    try:
        time = int(fields[b"committer"].rsplit(b" ", 2)[1])
    except (KeyError, IndexError, ValueError):
        time = 0
    tree = fields.get(b"tree", b"").decode("ascii", "replace")
    if not COMMIT.fullmatch(tree):
        raise SnapshotRefused(
            f"The commit {id} is not one that git would write.", "Look at it with `git fsck --strict`."
        )
    return Commit(id, tree, author[:200], subject[:500], time)
