"""The store: the objects of one installation, whatever holds them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aerodrome.errors import UsageError
from aerodrome.store.errors import StoreForbidden, StoreUnavailable
from aerodrome.store.folder import FolderObjects
from aerodrome.store.objects import Entry, Objects, Unchanged, checked
from aerodrome.store.team import TeamStore, attempts

_MARKER = "store.json"
_TRUST = 30.0  # seconds that a marker seen in a remote store is believed
_OWNERS = "dag_ids.json"
_REMOTE = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")


class Store:
    """The objects of one installation. Thread-safe, synchronous.

    A marker (``store.json``, written with the first object) tells an empty store from one that is not there: a disk
    that is not mounted, a bucket that is gone, a wrong prefix. Something that is absent is believed to be absent only
    where the marker stands, and only where it is the same marker as at first sight.

    Args:
        url: ``file:///folder``, ``s3://bucket/prefix``, ``gs://``, ``az://``, or ``memory://name`` (this process).
        options: passed on to obstore (``region``, ``endpoint``, ``allow_http``...); never a secret's value.

    Raises:
        UsageError: a URL or an option that can not be used.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._objects = _open(url, dict(options or {}))
        self._id: str | None = None
        self._seen = float("-inf")
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def team(self, name: str) -> TeamStore:
        """The part of the team `name`."""
        return TeamStore(self, name)

    def start(self) -> None:
        """Make an empty store at the URL unless there is a store already; every method that writes does this first.

        Raises:
            StoreUnavailable: it can not be made, or the store of before is gone.
        """
        self._there(start=True)

    # --- objects ---

    def read(self, key: str) -> Entry | None:
        """The object at `key`; None when it is absent.

        Raises:
            StoreUnavailable: the store can not be read, or there is none at this URL.
        """
        entry = self._objects.read(checked(key))
        if entry is None:
            self._there()
        assert not isinstance(entry, Unchanged)
        return entry

    def read_if_changed(self, key: str, tag: str | None) -> Entry | Unchanged | None:
        """The object at `key` unless `tag` still names its content; None when it is absent."""
        entry = self._objects.read(checked(key), tag)
        if entry is None:
            self._there()
        return entry

    def size(self, key: str) -> int | None:
        """Bytes of the object at `key`; None when it is absent."""
        size = self._objects.size(checked(key))
        if size is None:
            self._there()
        return size

    def create(self, key: str, data: bytes) -> bool:
        """Write `data` at `key` unless something is there already, which is when this is False."""
        return self.swap(key, data, None) is not None

    def swap(self, key: str, data: bytes, tag: str | None) -> str | None:
        """Write `data` at `key` if its content is still what `tag` names (None: if it is absent).

        Returns:
            The new tag; None when the object is something else by now, and nothing was written.
        """
        self.start()
        return self._objects.swap(checked(key), data, tag)

    def write(self, key: str, data: bytes) -> None:
        """Write `data` at `key`, whatever is there."""
        self.start()
        self._objects.write(checked(key), data)

    def upload(self, key: str, path: Path) -> None:
        """Write the content of the file `path` at `key`, whatever is there."""
        self.start()
        self._objects.upload(checked(key), path)

    def delete(self, key: str) -> None:
        """Remove the object at `key`; no error when it is absent."""
        self._there()
        self._objects.delete(checked(key))

    def list(self, prefix: str) -> Iterator[str]:
        """The keys below the folder `prefix`, in the order of their bytes ("" = all)."""
        folder = prefix.rstrip("/")
        keys = self._objects.list(checked(folder) if folder else "")
        first = next(keys, None)
        if first is None:
            self._there()
            return
        yield first
        yield from keys

    def chunks(self, key: str) -> Generator[bytes, None, None] | None:
        """The content of the object at `key`, piece by piece; None when it is absent."""
        chunks = self._objects.chunks(checked(key))
        if chunks is None:
            self._there()
        return chunks

    # --- dag_ids ---

    def claim_dag_ids(self, team: str, ids: Collection[str]) -> dict[str, str]:
        """Make all of `ids` the team's, or none.

        Returns:
            ``{}`` when all are the team's now, else the owner of each id that belongs to another team.
        """
        self.start()
        for _ in attempts(self.url, _OWNERS):
            entry = self.read(_OWNERS)
            owners = self._owners(entry)
            conflicts = {i: owners[i] for i in sorted(ids) if owners.get(i, team) != team}
            if conflicts or all(i in owners for i in ids):
                return conflicts
            if self._set_owners(owners | dict.fromkeys(ids, team), entry):
                return {}
        raise AssertionError("unreachable")

    def release_dag_ids(self, team: str, keep: Collection[str]) -> None:
        """Give up the team's dag_ids that are not in `keep`."""
        self.start()
        for _ in attempts(self.url, _OWNERS):
            entry = self.read(_OWNERS)
            owners = self._owners(entry)
            left = {i: owner for i, owner in owners.items() if owner != team or i in keep}
            if left == owners or self._set_owners(left, entry):
                return

    def dag_id_owners(self) -> dict[str, str]:
        """The team of each dag_id that is claimed."""
        return self._owners(self.read(_OWNERS))

    def _owners(self, entry: Entry | None) -> dict[str, str]:
        if entry is None:
            return {}
        try:
            owners = json.loads(entry.data)
            return {str(i): str(team) for i, team in owners.items()}
        except (ValueError, AttributeError):
            raise StoreUnavailable(f"store {self.url}: {_OWNERS} is damaged", "Restore it from a backup.") from None

    def _set_owners(self, owners: Mapping[str, str], entry: Entry | None) -> bool:
        data = json.dumps(owners, indent=0, sort_keys=True).encode()
        return self.swap(_OWNERS, data, entry.tag if entry else None) is not None

    # --- the marker ---

    def _there(self, *, start: bool = False) -> None:
        """Make sure that the store is there, and is the one of before.

        Args:
            start: make the marker where there is none and this process never saw one.

        Raises:
            StoreUnavailable: there is no store, or another one.
        """
        with self._lock:
            if not self._objects.local and time.monotonic() - self._seen < _TRUST:
                return
            try:
                entry = self._objects.read(_MARKER)
            except StoreForbidden:
                if start:
                    return  # a worker may have the right to write logs, and no more: a wrong place is found by others
                raise
            if entry is None and start and self._id is None:
                data = json.dumps({"id": str(uuid.uuid4()), "format": 1}).encode()
                self._objects.swap(_MARKER, data, None)
                entry = self._objects.read(_MARKER)
            if entry is None or isinstance(entry, Unchanged):
                raise StoreUnavailable(
                    f"store {self.url}: there is no store" + (" any more" if self._id else " yet"),
                    "Check the URL, the mount or the bucket. In an empty place the first write makes a store.",
                )
            try:
                found = str(json.loads(entry.data)["id"])
            except (ValueError, KeyError, TypeError):
                raise StoreUnavailable(f"store {self.url}: {_MARKER} is damaged", "Restore it from a backup.") from None
            if self._id is not None and found != self._id:
                raise StoreUnavailable(
                    f"store {self.url}: this is another store than before",
                    "Mount the former one again, or restart Aerodrome to go on with this one.",
                )
            self._id, self._seen = found, time.monotonic()


def _open(url: str, options: dict[str, str]) -> Objects:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        parts, password = urlsplit(""), None
    if password is not None or "?" in url:
        raise UsageError(
            "the store's URL holds credentials or a query",
            "Leave them out: credentials are found in the environment, other settings belong to store_options.",
        )
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path.strip("/") == "":
            raise UsageError(f"store {url}: not a folder of this machine", "Write file:///absolute/folder.")
        if options:
            raise UsageError(f"store {url}: a folder takes no options", "Remove store_options from aerodrome.yaml.")
        return FolderObjects(Path(unquote(parts.path)))
    if parts.scheme == "memory":
        from aerodrome.store.cloud import CloudObjects, memory

        return CloudObjects(url, memory(url), options)
    if parts.scheme in _REMOTE:
        from aerodrome.store.forked import RemoteObjects

        return RemoteObjects(url, options)
    raise UsageError(
        f"store {url}: unknown kind of store", "Use file:///folder, s3://bucket/prefix, gs://... or az://..."
    )
