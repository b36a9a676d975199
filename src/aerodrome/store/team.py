"""One team's part of the store: snapshots, head, verdicts, current and its history."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from pydantic import ValidationError

from aerodrome.errors import AerodromeError
from aerodrome.names import SNAPSHOT, TEAM, short
from aerodrome.store.errors import CurrentMoved, CurrentPinned, SnapshotDamaged, SnapshotMissing, StoreUnavailable
from aerodrome.store.objects import Entry, Unchanged
from aerodrome.store.records import Current, Head, Manifest, Record, Verdict, Why, now

if TYPE_CHECKING:
    from aerodrome.store.store import Store

R = TypeVar("R", bound=Record)
_HASH = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class Tagged(Generic[R]):
    """A record and the tag for the next conditional read of it."""

    value: R
    tag: str


class TeamStore:
    """The store as one team sees it. Thread-safe; made by :meth:`Store.team`.

    Every method raises :class:`StoreUnavailable` when the store can not be asked.
    """

    def __init__(self, store: Store, name: str) -> None:
        if not TEAM.fullmatch(name):
            raise ValueError(f"not a team's name: {name!r}")
        self.name = name
        self._store = store
        self._prefix = f"teams/{name}"

    # --- snapshots ---

    def publish(self, archive: Path, manifest: Manifest) -> None:
        """Put a snapshot into the store: the archive first, then its manifest. Doing it again changes nothing."""
        self._store.start()
        if self.published(manifest.snapshot) is not None:
            return
        self._store.upload(self._archive(manifest.snapshot), archive)
        self._write(self._manifest(manifest.snapshot), manifest)

    def manifest(self, snapshot: str) -> Manifest | None:
        """The manifest of `snapshot`; None when the store does not have that snapshot."""
        return self._read(self._manifest(snapshot), Manifest)

    def published(self, snapshot: str) -> Manifest | None:
        """As :meth:`manifest`, and the archive is there too, in its full size: nothing is left to be done for it."""
        known = self.manifest(snapshot)
        return known if known is not None and self._store.size(self._archive(snapshot)) == known.size else None

    def snapshots(self) -> list[str]:
        """Ids of all snapshots that are complete, in no particular order."""
        names = (key.rsplit("/", 1)[1] for key in self._store.list(f"{self._prefix}/snapshots"))
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def download(self, snapshot: str, to: BinaryIO) -> Manifest:
        """Write the archive of `snapshot` into `to`, which holds garbage when this raises.

        Raises:
            SnapshotMissing: the store has no such snapshot.
            SnapshotDamaged: size or digest differ from the manifest's.
        """
        manifest = self.manifest(snapshot)
        chunks = None if manifest is None else self._store.chunks(self._archive(snapshot))
        if manifest is None or chunks is None:
            raise SnapshotMissing(
                f"team {self.name}: snapshot {short(snapshot)} is not in the store {self._store.url}",
                f"Push the commit again or run `aerodrome sync --once`; if it was deleted, clear the run of commit "
                f"{short(snapshot)} so that it takes the current one.",
            )
        digest, size = hashlib.sha256(), 0
        with contextlib.closing(chunks):
            for chunk in chunks:
                size += len(chunk)
                if size > manifest.size:
                    break
                digest.update(chunk)
                to.write(chunk)
        if size != manifest.size or f"sha256:{digest.hexdigest()}" != manifest.digest:
            raise SnapshotDamaged(
                f"team {self.name}: snapshot {short(snapshot)} in the store {self._store.url} is damaged",
                f"Delete {self._archive(snapshot)} there and run `aerodrome sync --once`, which publishes it again.",
            )
        return manifest

    # --- head ---

    def head(self) -> Head | None:
        """What the tracked ref is at; None when the team never had one."""
        return self._read(self._key("head.json"), Head)

    def head_if_changed(self, tag: str | None) -> Tagged[Head] | Unchanged | None:
        """The head unless `tag` still names it; one cheap request."""
        return self._read_if_changed(self._key("head.json"), tag, Head)

    def set_head(self, head: Head) -> None:
        """Write `head`; a recheck that was asked for on the same snapshot stays asked for."""

        def change(old: Head | None) -> Head:
            if old is not None and old.snapshot == head.snapshot and head.recheck is None:
                return head.model_copy(update={"recheck": old.recheck})
            return head

        self._change(self._key("head.json"), Head, change)

    def request_recheck(self) -> Head:
        """Ask for the head's snapshot to be judged again.

        Raises:
            AerodromeError: the team has no head yet.
        """

        def change(old: Head | None) -> Head:
            if old is None or old.snapshot is None:
                raise AerodromeError(
                    f"team {self.name} has nothing to judge: no commit was fetched yet",
                    "Push a commit, or see `aerodrome status` for why fetching fails.",
                )
            return old.model_copy(update={"recheck": now()})

        return self._change(self._key("head.json"), Head, change)

    # --- verdicts ---

    def verdict(self, snapshot: str, hash: str) -> Verdict | None:
        """The verdict on `snapshot` under the policy and environment that `hash` stands for."""
        return self._read(self._verdict(snapshot, hash), Verdict)

    def set_verdict(self, verdict: Verdict) -> None:
        """Write a verdict over the last one of the same snapshot and hash."""
        self._write(self._verdict(verdict.snapshot, verdict.hash), verdict)

    def verdicts(self, snapshot: str) -> list[Verdict]:
        """All verdicts on `snapshot`, newest first."""
        keys = self._store.list(f"{self._prefix}/verdicts/{_snapshot(snapshot)}")
        found = (self._read(key, Verdict) for key in keys)
        return sorted((v for v in found if v is not None), key=lambda v: v.judged, reverse=True)

    # --- current ---

    def current(self) -> Current | None:
        """What is live; None when nothing ever was."""
        return self._read(self._key("current.json"), Current)

    def current_if_changed(self, tag: str | None) -> Tagged[Current] | Unchanged | None:
        """What is live, unless `tag` still names it; one cheap request."""
        return self._read_if_changed(self._key("current.json"), tag, Current)

    def move(
        self,
        to: str,
        *,
        why: Why,
        who: str,
        expected: Current | None,
        verdict: Verdict,
        pinned: bool = False,
    ) -> Current:
        """Make snapshot `to` live, if the pointer is still `expected`. This is the commit point of a release.

        Args:
            who: a person or a process, as history shows it.
            verdict: a passing verdict on `to`; a pointer can not move without one.
            pinned: the gate shall not move the pointer until it is unpinned.

        Raises:
            CurrentMoved: the pointer is somewhere else by now, nothing was written.
            CurrentPinned: `why` is "gate" and the pointer is pinned.
            SnapshotMissing: the store does not have `to`.
        """
        if not verdict.passed or verdict.snapshot != to:
            raise ValueError(f"no passing verdict on {to}")
        if expected is not None and expected.pinned and why == "gate":
            raise CurrentPinned(
                f"team {self.name} is pinned to {short(expected.snapshot)} by {expected.who}",
                f"Run `aerodrome resume {self.name}` to follow the ref again.",
            )
        self._store.start()
        if self.manifest(to) is None:
            raise SnapshotMissing(
                f"team {self.name}: snapshot {short(to)} is not in the store {self._store.url}",
                "Choose a commit that `aerodrome history` shows as kept.",
            )
        return self._move(
            expected,
            lambda number: Current(
                number=number,
                snapshot=to,
                previous=expected.snapshot if expected else None,
                when=now(),
                why=why,
                who=who,
                pinned=pinned,
            ),
        )

    def unpin(self, who: str) -> Current:
        """Let the gate move the pointer again; what is live does not change.

        Raises:
            AerodromeError: the team has no current snapshot.
            CurrentMoved: somebody moved the pointer at the same moment.
        """
        current = self.current()
        if current is None:
            raise AerodromeError(
                f"team {self.name} has no current snapshot", "It gets one when its first commit passes the gate."
            )
        if not current.pinned:
            return current
        return self._move(
            current,
            lambda number: current.model_copy(
                update={"number": number, "when": now(), "why": "resume", "who": who, "pinned": False}
            ),
        )

    def history(self, limit: int = 50) -> list[Current]:
        """The moves of the pointer, newest first."""
        current = self.current()
        if current is None:
            return []
        self._remember(current)
        moves = [current]
        for number in range(current.number - 1, max(0, current.number - limit), -1):
            move = self._read(self._moved(number), Current)
            if move is not None:
                moves.append(move)
        return moves

    def _move(self, expected: Current | None, make: Callable[[int], Current]) -> Current:
        key = self._key("current.json")
        entry = self._store.read(key)
        found = None if entry is None else self._parse(key, entry, Current)
        if found != expected:
            raise self._moved_away(found)
        if found is not None:
            self._remember(found)  # whoever wrote it may have been killed before it wrote the history
        new = make(found.number + 1 if found else 1)
        tag = self._store.swap(key, _dump(new), entry.tag if entry else None)
        if tag is None:
            # a request that was answered with an error and sent again finds its own first attempt
            found = self.current()
            if found != new:
                raise self._moved_away(found)
        self._remember(new)
        return new

    def _moved_away(self, found: Current | None) -> CurrentMoved:
        if found is None:
            return CurrentMoved(f"team {self.name} has no current snapshot any more", "Look and decide again.")
        return CurrentMoved(
            f"team {self.name} was moved to {short(found.snapshot)} by {found.who} in the meantime",
            "Look at `aerodrome history` and decide again.",
        )

    def _remember(self, move: Current) -> None:
        self._store.create(self._moved(move.number), _dump(move))

    # --- keys and records ---

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _archive(self, snapshot: str) -> str:
        return f"{self._prefix}/snapshots/{_snapshot(snapshot)}.tar.zst"

    def _manifest(self, snapshot: str) -> str:
        return f"{self._prefix}/snapshots/{_snapshot(snapshot)}.json"

    def _verdict(self, snapshot: str, hash: str) -> str:
        if not _HASH.fullmatch(hash):
            raise ValueError(f"not a hash: {hash!r}")
        return f"{self._prefix}/verdicts/{_snapshot(snapshot)}/{hash}.json"

    def _moved(self, number: int) -> str:
        return f"{self._prefix}/moves/{number}.json"

    def _parse(self, key: str, entry: Entry, kind: type[R]) -> R:
        try:
            return kind.model_validate_json(entry.data)
        except ValidationError as error:
            raise StoreUnavailable(
                f"store {self._store.url}: {key} is not a {kind.__name__.lower()}: {error.errors()[0]['msg']}",
                "It was damaged, or written by a newer version of Aerodrome: restore or upgrade.",
            ) from None

    def _read(self, key: str, kind: type[R]) -> R | None:
        entry = self._store.read(key)
        return None if entry is None else self._parse(key, entry, kind)

    def _read_if_changed(self, key: str, tag: str | None, kind: type[R]) -> Tagged[R] | Unchanged | None:
        entry = self._store.read_if_changed(key, tag)
        if entry is None or isinstance(entry, Unchanged):
            return entry
        return Tagged(self._parse(key, entry, kind), entry.tag)

    def _write(self, key: str, record: Record) -> None:
        self._store.write(key, _dump(record))

    def _change(self, key: str, kind: type[R], change: Callable[[R | None], R]) -> R:
        self._store.start()
        for _ in attempts(self._store.url, key):
            entry = self._store.read(key)
            new = change(None if entry is None else self._parse(key, entry, kind))
            if self._store.swap(key, _dump(new), entry.tag if entry else None) is not None:
                return new
        raise AssertionError("unreachable")


def attempts(url: str, key: str) -> Iterator[int]:
    """Numbers of the attempts at a compare-and-swap, with growing pauses between them.

    Raises:
        StoreUnavailable: after about half a minute.
    """
    deadline, pause = time.monotonic() + 30, 0.002
    number = 0
    while time.monotonic() < deadline:
        yield number
        number += 1
        time.sleep(pause * random.random())  # noqa: S311 - spreads writers, guards nothing
        pause = min(pause * 1.5, 0.5)
    raise StoreUnavailable(f"store {url}: {key} changed faster than it could be written", "Try again.")


def _dump(record: Record) -> bytes:
    return record.model_dump_json(indent=1).encode() + b"\n"


def _snapshot(snapshot: str) -> str:
    if not SNAPSHOT.fullmatch(snapshot):
        raise ValueError(f"not a snapshot id: {snapshot!r}")
    return snapshot
