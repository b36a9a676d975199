from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_init(aerodrome: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = aerodrome("init")
    assert said.code == 0
    assert said.out.strip().splitlines()[-1].strip() == "aerodrome up"
    assert (tmp_path / "dags" / ".git").is_dir()
    again = aerodrome("init")
    assert again.code == 2
    assert "is there already" in again.err
    assert aerodrome("init", "other").code == 0
    assert (tmp_path / "other" / "aerodrome.yaml").is_file()


def test_down_where_nothing_runs(aerodrome: Callable[..., Any], tmp_path: Path) -> None:
    said = aerodrome("down", "-c", str(tmp_path / "aerodrome.yaml"))
    assert said.code == 0
    assert said.out == "nothing runs here\n"


def test_purge_asks_and_removes_only_a_state_folder(
    aerodrome: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    home = tmp_path / "home"
    home.mkdir()
    said = aerodrome("down", "--state", str(home), "--purge", "--yes")
    assert said.code == 1
    assert "does not look like a state folder" in said.err
    assert home.exists()
    assert aerodrome("down", "--state", str(home), "--purge").code == 1
    for name in ("run", "secrets"):
        (home / name).mkdir()
    assert aerodrome("down", "--state", str(home), "--purge", "--yes").code == 0
    assert not home.exists()
