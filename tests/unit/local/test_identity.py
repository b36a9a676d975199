from __future__ import annotations

import os
from pathlib import Path

import pytest

from aerodrome.local import identity

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


@pytest.mark.skipif(os.geteuid() == 0, reason="root becomes somebody else")
def test_a_user_stays_who_he_is(tmp_path: Path) -> None:
    assert identity.of_database(tmp_path / "data", [tmp_path]) is None


@root
def test_root_becomes_a_number_without_a_user(tmp_path: Path) -> None:
    who = identity.of_database(tmp_path / "data", [])
    assert who is not None
    assert who == identity.of_database(tmp_path / "data", [])
    assert 61184 <= who.uid <= 65519
    assert who.capability is None


@root
def test_the_owner_of_a_data_folder_stays_its_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 61234, 61234)
    who = identity.of_database(tmp_path, [])
    assert who is not None
    assert who.uid == 61234


@root
@pytest.mark.parametrize("mode", [0o700, 0o711])
def test_a_closed_folder_is_passed_and_not_opened(tmp_path: Path, mode: int) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    data = closed / "data"
    data.mkdir()
    closed.chmod(mode)
    who = identity.of_database(data, [data])
    assert who is not None
    identity.give(data, who)
    pid = os.fork()
    if pid == 0:
        try:
            who.assume()()
            (data / "mine").write_text("x")
            seen = os.access(data, os.R_OK | os.X_OK)  # initdb looks for its programs so
            status = Path("/proc/self/status").read_text()
            (kept,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapPrm:"))
            alone = kept == (0 if who.capability is None else 1 << who.capability)
            os._exit(0 if os.geteuid() == who.uid and seen and alone else 2)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert closed.stat().st_mode & 0o777 == mode
    assert (data / "mine").stat().st_uid == who.uid
