"""What can go wrong with the store, in the reader's words.

::

    Temporary
    └── StoreUnavailable      it could not be asked, or its answer can not be trusted: what is live stays live
        └── StoreForbidden    this process has no right to do that
    AerodromeError
    ├── SnapshotMissing       the store answers, and has no such snapshot
    ├── SnapshotDamaged       the archive is not what its manifest says
    └── CurrentMoved          somebody else moved the team's pointer first
        └── CurrentPinned     the pointer is pinned by a rollback
"""

from __future__ import annotations

from aerodrome.errors import AerodromeError, Temporary


class StoreUnavailable(Temporary):
    """The store can not be read or written now. Never means that something is absent."""


class StoreForbidden(StoreUnavailable):
    """The credentials of this process do not allow it."""


class SnapshotMissing(AerodromeError):
    """The store has no such snapshot of the team."""


class SnapshotDamaged(AerodromeError):
    """Size or digest of a snapshot's archive is not what its manifest says."""


class CurrentMoved(AerodromeError):
    """The pointer is not where the mover believed it to be; nothing was written."""


class CurrentPinned(CurrentMoved):
    """The pointer is pinned and only `resume` or another rollback may move it; nothing was written."""
