"""The store: snapshots, verdicts, pointers and task logs of one installation, behind one contract."""

from aerodrome.store.errors import (
    CurrentMoved,
    CurrentPinned,
    SnapshotDamaged,
    SnapshotMissing,
    StoreForbidden,
    StoreUnavailable,
)
from aerodrome.store.objects import UNCHANGED, Entry, Unchanged
from aerodrome.store.records import Current, Finding, Head, Manifest, Verdict, now
from aerodrome.store.store import Store
from aerodrome.store.team import Tagged, TeamStore

__all__ = [
    "UNCHANGED",
    "Current",
    "CurrentMoved",
    "CurrentPinned",
    "Entry",
    "Finding",
    "Head",
    "Manifest",
    "SnapshotDamaged",
    "SnapshotMissing",
    "Store",
    "StoreForbidden",
    "StoreUnavailable",
    "Tagged",
    "TeamStore",
    "Unchanged",
    "Verdict",
    "now",
]
