"""A team's records: what is written, what is kept, and who wins."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from aerodrome.errors import AerodromeError
from aerodrome.store import (
    Current,
    CurrentMoved,
    CurrentPinned,
    Entry,
    Finding,
    Head,
    Manifest,
    SnapshotDamaged,
    SnapshotMissing,
    Store,
    StoreUnavailable,
    Tagged,
    TeamStore,
    Unchanged,
    Verdict,
    now,
)

A, B, C = "a" * 40, "b" * 40 + "-0123abcd", "c" * 64
Publish = Callable[..., Manifest]
MakeHead = Callable[..., Head]
MakeVerdict = Callable[..., Verdict]


@pytest.fixture
def published(team: TeamStore, publish: Publish) -> TeamStore:
    for snapshot in (A, B, C):
        publish(team, snapshot)
    return team


@pytest.mark.parametrize("name", ["", "a", "Payments", "a/b", "../x", "1ab", "a_b", "a" * 41])
def test_a_team_has_the_name_of_a_team(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a team's name"):
        store.team(name)


@pytest.mark.parametrize("snapshot", ["", "abc", "../" + A, A + "/..", A.upper(), A + "-xyz", "a" * 41])
def test_a_snapshot_has_the_id_of_a_snapshot(team: TeamStore, snapshot: str) -> None:
    for call in (
        lambda: team.manifest(snapshot),
        lambda: team.verdicts(snapshot),
        lambda: team.verdict(snapshot, "h"),
        lambda: team.download(snapshot, io.BytesIO()),
    ):
        with pytest.raises(ValueError, match="not a snapshot"):
            call()
    with pytest.raises(ValueError, match="not a hash"):
        team.verdict(A, "../h")


# --- snapshots ---


def test_a_published_snapshot_comes_back(team: TeamStore, publish: Publish) -> None:
    manifest = publish(team, A, b"x" * 3_000_000)
    assert team.manifest(A) == manifest
    assert team.snapshots() == [A]
    got = io.BytesIO()
    assert team.download(A, got) == manifest
    assert got.getvalue() == b"x" * 3_000_000
    assert team.manifest(B) is None


def test_publishing_again_changes_nothing(store: Store, team: TeamStore, publish: Publish) -> None:
    first = publish(team, A)
    publish(team, A, b"other bytes of another zstd")
    assert team.manifest(A) == first
    team.download(A, io.BytesIO())


def test_publishing_again_heals_a_lost_archive(store: Store, team: TeamStore, publish: Publish) -> None:
    publish(team, A)
    store.delete(f"teams/payments/snapshots/{A}.tar.zst")
    with pytest.raises(SnapshotMissing):
        team.download(A, io.BytesIO())
    publish(team, A)
    team.download(A, io.BytesIO())


def test_an_archive_without_a_manifest_is_no_snapshot(store: Store, team: TeamStore) -> None:
    store.write(f"teams/payments/snapshots/{A}.tar.zst", b"uploaded by a killed process")
    assert team.snapshots() == []
    with pytest.raises(SnapshotMissing) as caught:
        team.download(A, io.BytesIO())
    assert "payments" in caught.value.what and A[:9] in caught.value.what and store.url in caught.value.what


@pytest.mark.parametrize("content", [b"Archive", b"archiv", b"archive!", b""])
def test_a_damaged_archive_is_refused(store: Store, team: TeamStore, publish: Publish, content: bytes) -> None:
    publish(team, A)
    store.write(f"teams/payments/snapshots/{A}.tar.zst", content)
    with pytest.raises(SnapshotDamaged) as caught:
        team.download(A, io.BytesIO())
    assert "payments" in caught.value.what and A[:9] in caught.value.what and store.url in caught.value.what


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"snapshot": 1}'])
def test_a_record_that_can_not_be_read_is_not_an_absent_one(store: Store, team: TeamStore, content: bytes) -> None:
    for name in ("head", "current"):
        store.write(f"teams/payments/{name}.json", content)
    for read in (team.head, team.current, lambda: team.head_if_changed(None)):
        with pytest.raises(StoreUnavailable, match=r"payments/(head|current)\.json is not a"):
            read()


def test_a_newer_version_may_add_fields(store: Store, team: TeamStore) -> None:
    store.write(
        "teams/payments/head.json",
        b'{"snapshot": null, "commit": null, "ref": "main", "seen": "2026-01-01T00:00:00Z", "new": 1}',
    )
    assert team.head() == Head(snapshot=None, commit=None, ref="main", seen=datetime(2026, 1, 1, tzinfo=UTC))


def test_times_are_aware_and_in_utc() -> None:
    east = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert Head(snapshot=None, commit=None, ref="main", seen=east).seen.tzinfo is UTC
    with pytest.raises(ValueError, match="timezone"):
        Head(snapshot=None, commit=None, ref="main", seen=datetime(2026, 1, 1))
    assert now().tzinfo is UTC


# --- head ---


def test_a_head_is_read_when_it_changed(team: TeamStore, head: MakeHead) -> None:
    assert team.head() is None
    assert team.head_if_changed(None) is None
    team.set_head(head(A))
    seen = team.head_if_changed(None)
    assert isinstance(seen, Tagged) and seen.value.snapshot == A
    assert isinstance(team.head_if_changed(seen.tag), Unchanged)
    team.set_head(head(B))
    seen = team.head_if_changed(seen.tag)
    assert isinstance(seen, Tagged) and seen.value.snapshot == B


def test_a_recheck_stays_asked_for_until_there_is_another_snapshot(team: TeamStore, head: MakeHead) -> None:
    with pytest.raises(AerodromeError, match="nothing to judge"):
        team.request_recheck()
    team.set_head(head(None, error="no such branch"))
    with pytest.raises(AerodromeError, match="nothing to judge"):
        team.request_recheck()
    team.set_head(head(A))
    asked = team.request_recheck()
    assert asked.recheck is not None
    team.set_head(head(A, error="connection refused"))
    found = team.head()
    assert found is not None and found.recheck == asked.recheck and found.error == "connection refused"
    team.set_head(head(B))
    found = team.head()
    assert found is not None and found.recheck is None


# --- verdicts ---


def test_verdicts_are_kept_by_what_decided(team: TeamStore, verdict: MakeVerdict) -> None:
    finding = Finding(kind="import", file="dags/a.py", line=3, message="No module named 'x'", remedy="Install it.")
    first = verdict(A, passed=False, findings=(finding,), judged=now() - timedelta(minutes=1))
    second = verdict(A, hash="other", dag_ids=("a", "b"))
    team.set_verdict(first)
    team.set_verdict(second)
    assert team.verdict(A, "h") == first
    assert team.verdict(A, "none") is None
    assert team.verdict(B, "h") is None
    assert team.verdicts(A) == [second, first]
    again = verdict(A)
    team.set_verdict(again)
    assert team.verdict(A, "h") == again


# --- current ---


def move(team: TeamStore, to: str, make: MakeVerdict, **more: object) -> Current:
    details = {"why": "gate", "who": "processor", "expected": team.current(), "verdict": make(to)} | more
    return team.move(to, **details)  # type: ignore[arg-type]


def test_moves_are_numbered_and_remembered(published: TeamStore, verdict: MakeVerdict) -> None:
    assert published.current() is None
    assert published.history() == []
    first = move(published, A, verdict)
    second = move(published, B, verdict)
    third = move(published, A, verdict, why="rollback", who="ada", pinned=True)
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert [first.previous, second.previous, third.previous] == [None, A, B]
    assert published.current() == third
    assert published.history() == [third, second, first]
    assert published.history(2) == [third, second]


def test_a_mover_who_knows_less_loses(published: TeamStore, verdict: MakeVerdict) -> None:
    first = move(published, A, verdict)
    with pytest.raises(CurrentMoved, match="moved to aaaaaaaaa by processor"):
        move(published, B, verdict, expected=None)
    move(published, B, verdict)
    with pytest.raises(CurrentMoved, match="moved to bbbbbbbbb-0123abcd"):
        move(published, C, verdict, expected=first)
    found = published.current()
    assert found is not None and found.snapshot == B


def test_a_move_needs_a_passing_verdict_of_that_snapshot(published: TeamStore, verdict: MakeVerdict) -> None:
    for wrong in (verdict(A, passed=False), verdict(B)):
        with pytest.raises(ValueError, match="no passing verdict"):
            move(published, A, verdict, verdict=wrong)
    assert published.current() is None


def test_a_move_needs_the_snapshot(team: TeamStore, verdict: MakeVerdict) -> None:
    with pytest.raises(SnapshotMissing):
        move(team, A, verdict)
    assert team.current() is None


def test_the_gate_does_not_move_a_pinned_pointer(published: TeamStore, verdict: MakeVerdict) -> None:
    move(published, A, verdict)
    move(published, B, verdict, why="rollback", who="ada", pinned=True)
    with pytest.raises(CurrentPinned, match="pinned to bbbbbbbbb-0123abcd by ada"):
        move(published, C, verdict)
    resumed = published.unpin("bob")
    assert (resumed.number, resumed.snapshot, resumed.previous) == (3, B, A)
    assert (resumed.why, resumed.who, resumed.pinned) == ("resume", "bob", False)
    assert published.unpin("bob") == resumed
    assert move(published, C, verdict).number == 4
    assert [m.number for m in published.history()] == [4, 3, 2, 1]


def test_there_is_nothing_to_unpin_before_the_first_move(team: TeamStore) -> None:
    with pytest.raises(AerodromeError, match="no current snapshot"):
        team.unpin("ada")


@pytest.mark.parametrize("healer", ["reader", "mover"])
def test_history_is_completed_after_a_mover_was_killed(
    store: Store, published: TeamStore, verdict: MakeVerdict, healer: str
) -> None:
    first = move(published, A, verdict)
    store.delete("teams/payments/moves/1.json")  # as if killed right after the pointer was written
    if healer == "mover":
        move(published, B, verdict)
    assert published.history()[-1] == first
    assert store.read("teams/payments/moves/1.json") is not None


def test_a_move_whose_answer_was_lost_is_recognized(
    store: Store, published: TeamStore, verdict: MakeVerdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may write, answer with an error, and refuse the same write when it is sent again."""
    swap = store.swap

    def answer_lost(key: str, data: bytes, tag: str | None) -> str | None:
        done = swap(key, data, tag)
        return swap(key, data, tag) if key.endswith("current.json") else done

    monkeypatch.setattr(store, "swap", answer_lost)
    assert move(published, A, verdict) == published.current()


# --- dag_ids ---


def test_all_dag_ids_are_claimed_or_none(store: Store) -> None:
    assert store.claim_dag_ids("payments", ["a", "b"]) == {}
    assert store.claim_dag_ids("risk", ["b", "c"]) == {"b": "payments"}
    assert store.dag_id_owners() == {"a": "payments", "b": "payments"}
    assert store.claim_dag_ids("payments", ["b", "c"]) == {}
    assert store.dag_id_owners() == {"a": "payments", "b": "payments", "c": "payments"}
    assert store.claim_dag_ids("payments", []) == {}


def test_released_dag_ids_are_free(store: Store) -> None:
    store.claim_dag_ids("payments", ["a", "b"])
    store.claim_dag_ids("risk", ["c"])
    store.release_dag_ids("payments", ["b", "c", "d"])
    assert store.dag_id_owners() == {"b": "payments", "c": "risk"}
    assert store.claim_dag_ids("risk", ["a"]) == {}


def test_a_claim_of_what_is_ones_own_writes_nothing(store: Store) -> None:
    store.claim_dag_ids("payments", ["a"])
    before = store.read("dag_ids.json")
    assert isinstance(before, Entry)
    store.claim_dag_ids("payments", ["a"])
    store.release_dag_ids("payments", ["a"])
    store.release_dag_ids("risk", [])
    assert isinstance(store.read_if_changed("dag_ids.json", before.tag), Unchanged)


def test_a_damaged_list_of_dag_ids_is_not_an_empty_one(store: Store) -> None:
    store.write("dag_ids.json", b"[]")
    with pytest.raises(StoreUnavailable, match="damaged"):
        store.claim_dag_ids("payments", ["a"])
