from __future__ import annotations

import pytest

from aerodrome.names import TEAM, airflow_team, commit_of, nearest, short, snapshot_id

SHA1 = "0123456789abcdef0123456789abcdef01234567"
SHA256 = SHA1 + "0" * 24


@pytest.mark.parametrize(("team", "name"), [("payments", "payments"), ("a-b-c", "a_b_c")])
def test_airflow_team(team: str, name: str) -> None:
    assert TEAM.fullmatch(team)
    assert airflow_team(team) == name


@pytest.mark.parametrize("team", ["", "ab", "a" * 41, "Abc", "1abc", "-abc", "a_b", "a b", "abc\n", "äbc"])
def test_no_team(team: str) -> None:
    assert not TEAM.fullmatch(team)


def test_snapshots_of_default_settings_are_named_as_their_commit() -> None:
    assert snapshot_id(SHA1, {}) == SHA1


def test_other_settings_are_another_snapshot() -> None:
    one = snapshot_id(SHA1, {"paths": ["a"], "submodules": True})
    assert one == snapshot_id(SHA1, {"submodules": True, "paths": ["a"]}), "the order of the settings means nothing"
    assert one != snapshot_id(SHA1, {"paths": ["b"], "submodules": True})
    # Pinned: an id that changes with a version of Aerodrome would orphan every snapshot.
    assert snapshot_id(SHA1, {"paths": ["dags"]}) == f"{SHA1}-74ff5d2b"


@pytest.mark.parametrize("commit", [SHA1, SHA256])
def test_commit_of(commit: str) -> None:
    assert commit_of(commit) == commit
    assert commit_of(snapshot_id(commit, {"paths": ["a"]})) == commit


@pytest.mark.parametrize("text", ["", "abc", SHA1.upper(), SHA1 + "-", SHA1 + "-123", SHA1 + "0", SHA1 + "-0123456g"])
def test_no_snapshot(text: str) -> None:
    with pytest.raises(ValueError, match="not a snapshot id"):
        commit_of(text)


def test_short() -> None:
    assert short(SHA1) == "012345678"
    assert short(f"{SHA1}-89abcdef") == "012345678-89abcdef"


def test_nearest() -> None:
    assert nearest("paymets", ["risk", "payments"]) == "payments"
    assert nearest("zzz", ["risk", "payments"]) is None
    assert nearest("x", []) is None
