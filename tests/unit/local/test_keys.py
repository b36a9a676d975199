from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from aerodrome.errors import AerodromeError
from aerodrome.local.keys import Keys, ensure_passwords
from aerodrome.local.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path)
    state.make()
    return state


def test_keys_are_made_once(state: State) -> None:
    keys = Keys.of(state)
    assert Keys.of(state) == keys
    assert len({keys.fernet, keys.jwt, keys.api}) == 3
    assert keys.fernet not in repr(keys)
    for path in state.secrets.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_installations_have_different_keys(state: State, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.make()
    assert Keys.of(state) != Keys.of(other)


def test_each_user_gets_a_password_once(state: State) -> None:
    first = ensure_passwords(state, ["ada"])
    both = ensure_passwords(state, ["ada", "bob"])
    assert both["ada"] == first["ada"] != both["bob"]
    assert json.loads(state.passwords.read_text()) == both
    assert stat.S_IMODE(state.passwords.stat().st_mode) == 0o600


def test_a_broken_file_of_passwords_is_named(state: State) -> None:
    state.passwords.write_text("no json")
    with pytest.raises(AerodromeError, match=r"passwords\.json"):
        ensure_passwords(state, ["ada"])
