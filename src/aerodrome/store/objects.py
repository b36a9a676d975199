"""Objects: what every kind of store must do, and which keys are allowed."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_RESERVED = ".aerodrome"


@dataclass(frozen=True)
class Entry:
    """An object as it was read: ``tag`` names exactly this content for :meth:`Objects.swap`."""

    data: bytes
    tag: str


@final
class Unchanged:
    """The answer to a conditional read: the object is still what the tag names."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()


def checked(key: str) -> str:
    """`key`, when it can be a key on every kind of store.

    Raises:
        ValueError: empty, absolute, a segment that is empty, ``.`` or ``..``, a control character or backslash,
            a segment of more than 255 bytes (the longest file name), or a name that the store keeps for itself.
    """
    segments = key.split("/")
    if (
        _CONTROL.search(key)
        or any(s in ("", ".", "..") or len(s.encode()) > 255 for s in segments)
        or len(key.encode()) > 1024
        or segments[0] == _RESERVED
    ):
        raise ValueError(f"not a key of the store: {key!r}")
    return key


class Objects(ABC):
    """One place that holds objects. Thread-safe. Keys are checked by the caller.

    Every method raises :class:`aerodrome.store.StoreUnavailable` when the place can not be asked.
    """

    #: whether a read costs so little that the store's marker is looked at whenever something is absent
    local: bool = False

    @abstractmethod
    def read(self, key: str, tag: str | None = None) -> Entry | Unchanged | None:
        """The object; ``UNCHANGED`` when `tag` still names it; None when it is absent."""

    @abstractmethod
    def swap(self, key: str, data: bytes, tag: str | None) -> str | None:
        """Write `data` if the object is still what `tag` names (None: if it is absent).

        Returns:
            The new tag, or None when the object is something else: nothing was written.
        """

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Write `data`, whatever is there."""

    @abstractmethod
    def upload(self, key: str, path: Path) -> None:
        """Write the content of the file `path`, which must not change meanwhile."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error when it is absent."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Bytes of the object; None when it is absent."""

    @abstractmethod
    def list(self, folder: str) -> Iterator[str]:
        """Keys below `folder` ("" = all), in the order of their bytes."""

    @abstractmethod
    def chunks(self, key: str) -> Generator[bytes, None, None] | None:
        """The object's content piece by piece; None when it is absent."""
