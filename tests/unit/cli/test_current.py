from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aerodrome.store import Store
from aerodrome.store.records import Head, Manifest, Verdict, now
from aerodrome.store.team import TeamStore

ONE, TWO, THREE = ("1" * 40, "2" * 40, "23" + "3" * 38)


def verdict(snapshot: str, passed: bool = True) -> Verdict:
    return Verdict(snapshot=snapshot, hash="h", passed=passed, judged=now(), dag_ids=("a",))


@pytest.fixture
def payments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TeamStore:
    """A team that had ONE live, then TWO; THREE was refused."""
    (tmp_path / "aerodrome.yaml").write_text("teams: [{name: payments, repo: ./dags}]\n")
    monkeypatch.chdir(tmp_path)
    store = Store((tmp_path / ".aerodrome" / "store").as_uri())
    store.start()
    team = store.team("payments")
    archive = tmp_path / "archive"
    archive.write_bytes(b"x")
    digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    for number, snapshot in enumerate((ONE, TWO, THREE), 1):
        team.publish(
            archive,
            Manifest(
                snapshot=snapshot, commit=snapshot, author="Ada", subject=f"Change {number}", time=now(),
                digest=digest, size=1, unpacked=1, files=1,
            ),
        )  # fmt: skip
        team.set_verdict(verdict(snapshot, snapshot != THREE))
    first = team.move(ONE, why="gate", who="processor", expected=None, verdict=verdict(ONE))
    team.move(TWO, why="gate", who="processor", expected=first, verdict=verdict(TWO))
    team.set_head(Head(snapshot=THREE, commit=THREE, ref="main", seen=now()))
    return team


Aerodrome = Callable[..., Any]


@pytest.mark.usefixtures("payments")
def test_history(aerodrome: Aerodrome) -> None:
    said = aerodrome("history", "payments")
    assert said.code == 0
    header, newest, oldest = said.out.strip().splitlines()
    assert header.split() == ["MOVE", "WHEN", "COMMIT", "WHY", "WHO", "SUBJECT"]
    assert "222222222" in newest
    assert "Change 2" in newest
    assert "111111111" in oldest
    moves = json.loads(aerodrome("history", "payments", "--json", "-n", "1").out)
    assert [(move["number"], move["snapshot"], move["subject"]) for move in moves] == [(2, TWO, "Change 2")]


def test_rollback_and_resume(aerodrome: Aerodrome, payments: TeamStore) -> None:
    said = aerodrome("rollback", "payments")
    assert said.code == 0, said.err
    current = payments.current()
    assert current is not None
    assert (current.snapshot, current.why, current.pinned) == (ONE, "rollback", True)
    assert json.loads(aerodrome("resume", "payments", "--json").out)["pinned"] is False
    assert aerodrome("rollback", "payments", "2222").code == 0
    current = payments.current()
    assert current is not None
    assert current.snapshot == TWO


@pytest.mark.parametrize(
    ("commit", "wrong"),
    [
        ("23", "was refused, so that it can not be live"),
        ("2", "is the beginning of 2 commits"),
        ("9", "holds no commit of payments that begins with '9'"),
    ],
)
def test_what_can_not_be_rolled_back_to(aerodrome: Aerodrome, payments: TeamStore, commit: str, wrong: str) -> None:
    said = aerodrome("rollback", "payments", commit)
    assert said.code == 1
    assert wrong in said.err
    current = payments.current()
    assert current is not None
    assert current.snapshot == TWO


def test_recheck(aerodrome: Aerodrome, payments: TeamStore) -> None:
    said = aerodrome("recheck", "payments")
    assert said.code == 0
    assert "233333333 will be judged again" in said.out
    head = payments.head()
    assert head is not None
    assert head.recheck is not None


@pytest.mark.usefixtures("payments")
@pytest.mark.parametrize("command", ["history", "rollback", "resume", "recheck"])
def test_an_unknown_team_names_the_nearest(aerodrome: Aerodrome, command: str) -> None:
    said = aerodrome(command, "payment")
    assert said.code == 1
    assert "Did you mean 'payments'?" in said.err


@pytest.mark.usefixtures("payments")
def test_status_without_a_platform(aerodrome: Aerodrome) -> None:
    said = aerodrome("status")
    assert said.code == 1
    assert "not running" in said.out
    assert "refused" in said.out
    found = json.loads(aerodrome("status", "--json").out)
    assert found["running"] is False
    (team,) = found["teams"]
    assert team["current"]["snapshot"] == TWO
    assert team["dags"] == ["a"]
    assert team["verdict"]["passed"] is False
