"""One team's pass: look at the ref, compare with what is published, do what is missing. Every pass is the same pass."""

from __future__ import annotations

import random
import time
from typing import Literal

from aerodrome.config.model import Team
from aerodrome.errors import AerodromeError
from aerodrome.names import COMMIT, short, snapshot_id
from aerodrome.store import Head, StoreUnavailable, now
from aerodrome.sync import snapshot
from aerodrome.sync.credentials import Keyring
from aerodrome.sync.failures import CredentialsRefused, EmptyRepository, RefMissing, RepositoryFailure, SnapshotRefused
from aerodrome.sync.mirror import Tip, candidates, look, tip
from aerodrome.sync.publication import Log, Publication, Shared
from aerodrome.sync.quick import QuickLook
from aerodrome.sync.remote import Remote, parse

Outcome = Literal["unchanged", "published", "refused", "failed", "throttled"]
"""``published``: head is at another snapshot than before. ``refused``: the repository was seen well, and a push is what
mends it, so that looking less often would only delay it. ``failed``: trying again less often is polite."""

By = Literal["poll", "webhook"]

_COMPARE = 600.0
"""Seconds, about, between comparisons with the store: somebody may have deleted or restored something there."""


class Tracker:
    """Keeps one team's head and snapshots in the store at what its repository is at.

    Args:
        team: its configuration.
        shared: what all teams of the process use.
        log: gets one line for each thing that happens.

    Raises:
        AerodromeError: the team's repository is not one that git can open.
    """

    def __init__(self, team: Team, shared: Shared, log: Log) -> None:
        self.team = team
        self._store = shared.store.team(team.name)
        self._shared = shared
        self._log = log
        self._settings = snapshot.settings(team)
        self._keyring = Keyring(parse(team.repo), team.credentials, team.ca, shared.secrets)
        self._quick = QuickLook(self._keyring.remote)
        self._publication = Publication(team, self._keyring, self._settings, shared, log)
        self._head: Head | None = None
        self._known = False
        """Whether ``_head`` is what the store holds, its snapshot included."""
        self._compare_at = 0.0
        self._refused: tuple[str, SnapshotRefused] | None = None
        self._told: str | None = None

    @property
    def remote(self) -> Remote:
        """Where the team's repository is."""
        return self._keyring.remote

    def close(self) -> None:
        """Let go of what is open."""
        self._quick.close()

    async def pass_(self, by: By = "poll") -> Outcome:
        """Bring the store to what the repository is at. Errors are told in the head and the log, not raised."""
        try:
            return await self._advance(by)
        except StoreUnavailable as error:
            self._known = False
            self._log.error("%s", one_line(error))
            return "failed"
        except AerodromeError as error:
            if isinstance(error, CredentialsRefused):
                self._keyring.forget()
            await self._tell(error, by)
            if isinstance(error, RepositoryFailure) and error.throttled:
                return "throttled"
            return "refused" if isinstance(error, (SnapshotRefused, EmptyRepository, RefMissing)) else "failed"

    async def _advance(self, by: By) -> Outcome:
        await self._compare()
        seen = await self._look()
        wanted = snapshot_id(seen.commit, self._settings)
        head = self._head
        if self._known and head and (head.snapshot, head.ref, head.error) == (wanted, seen.ref, None):
            return "unchanged"
        if self._refused is not None and self._refused[0] == wanted:
            raise self._refused[1]
        manifest = await self._shared.in_thread(self._store.published, wanted)
        if manifest is None:
            try:
                manifest = await self._publication.publish(seen)
            except SnapshotRefused as error:
                self._refused = (wanted, error)
                raise
            except RefMissing as error:  # of a submodule, or a commit: looking for it again is much work
                raise RepositoryFailure(error.what, error.remedy) from None
        self._refused = self._told = None
        before = head.snapshot if head else None
        new = Head(snapshot=manifest.snapshot, commit=manifest.commit, ref=seen.ref, seen=now(), by=by)
        if head is None or (head.snapshot, head.ref, head.error) != (new.snapshot, new.ref, None):
            await self._set(new)
        self._known = True
        if head is not None and head.error is not None:
            self._log.info("the repository is in order again", extra={"commit": new.commit})
        if before == new.snapshot:
            return "unchanged"
        self._log.info("%s is at %s", new.ref, short(manifest.snapshot), extra={"commit": new.commit})
        await self._shared.pokes.send(self.team.name)
        return "published"

    async def _compare(self) -> None:
        """Read what the store holds, at first and now and then."""
        if self._known and time.monotonic() < self._compare_at:
            return
        await self._shared.in_thread(self._shared.store.start)
        self._head = await self._shared.in_thread(self._store.head)
        self._known = self._head is not None and (
            self._head.snapshot is None
            or await self._shared.in_thread(self._store.published, self._head.snapshot) is not None
        )
        self._compare_at = time.monotonic() + _COMPARE * random.uniform(0.8, 1.2)  # noqa: S311

    async def _look(self) -> Tip:
        ref = self.team.ref
        if ref is not None and COMMIT.fullmatch(ref):
            return Tip(ref, ref)  # it never moves: nothing to ask
        async with self._shared.looks.one(self.team.name):
            if self._keyring.needs_renewal:
                await self._shared.in_thread(self._keyring.renew)
            ca = self.team.ca.read() if self.team.ca else None
            refs = await self._quick.refs(candidates(ref), self._keyring.login(), ca)
            if refs is not None and (found := tip(refs, ref)) is not None:
                return found
            with self._keyring.lent(self._keyring.remote) as extra:
                return await look(self._shared.git, self._keyring.remote, ref, extra)

    async def _tell(self, error: AerodromeError, by: By) -> None:
        """Put `error` into the head, whose snapshot stays what it was, and into the log; once, not at every pass."""
        text = self._keyring.masker.mask(str(error))
        head = self._head
        if self._told != text:
            self._log.error("%s", text.replace("\n", " "), extra={"commit": head.commit if head else None})
            self._told = text
        if head is not None and head.error == text:
            return
        ref = self.team.ref or "HEAD"
        new = (
            head.model_copy(update={"error": text})
            if head is not None
            else Head(snapshot=None, commit=None, ref=ref, seen=now(), by=by, error=text)
        )
        try:
            await self._set(new)
        except StoreUnavailable as unavailable:
            self._known = False
            self._log.error("%s", one_line(unavailable))

    async def _set(self, head: Head) -> None:
        await self._shared.in_thread(self._store.set_head, head)
        self._head = head


def one_line(error: AerodromeError) -> str:
    """`error` as one line of a log."""
    return str(error).replace("\n", " ")
