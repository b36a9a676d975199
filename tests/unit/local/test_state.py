from __future__ import annotations

import stat
from pathlib import Path

import pytest

from aerodrome.errors import AerodromeError
from aerodrome.local.state import State, write_private


def test_folders_are_for_this_user(tmp_path: Path) -> None:
    state = State(tmp_path / "deep" / "state")
    state.make()
    assert stat.S_IMODE(state.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.logs.stat().st_mode) == 0o700
    # PostgreSQL's own user must get through these, and sees no names in them
    assert stat.S_IMODE(state.folder.stat().st_mode) == 0o711
    assert (state.folder / ".gitignore").read_text() == "*\n"
    state.make()


def test_one_supervisor_for_one_state(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.make()
    with state.locked(), pytest.raises(AerodromeError, match="another command"), state.locked():
        pass
    with state.locked():
        pass


def test_sockets_are_beside_the_rest_when_their_path_is_short_enough() -> None:
    assert State(Path("/srv/airflow/.aerodrome")).sockets == Path("/srv/airflow/.aerodrome/run")


def test_sockets_of_a_deep_folder_have_a_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    state = State(tmp_path / ("x" * 100))
    assert state.sockets.parent == tmp_path
    assert len(str(state.sockets)) < len(str(state.folder))
    assert state.sockets == state.sockets
    assert state.sockets != State(tmp_path / ("y" * 100)).sockets


def test_a_foreign_short_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    state = State(tmp_path / ("x" * 100))
    folder = state.sockets
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(AerodromeError, match="belongs to another user"):
        _ = state.sockets


def test_a_private_file_is_never_readable_for_others(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
