"""``sys.path`` of a process that runs a team's code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aerodrome.airflow import imports


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    path, modules, active = list(sys.path), dict(sys.modules), imports._active
    imports._active = []
    yield
    sys.path[:], imports._active = path, active
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    found = []
    for name in ("old", "new"):
        root = tmp_path / name
        (root / "dags/shared").mkdir(parents=True)
        (root / "space").mkdir()
        (root / "teamlib.py").write_text(f"WHICH = {name!r}")
        (root / "dags/shared/__init__.py").write_text(f"WHICH = {name!r}")
        (root / "space/inner.py").write_text(f"WHICH = {name!r}")  # a package without __init__.py
        (root / "json.py").write_text("WHICH = 'the team'")
        found.append(root)
    return found


def test_paths_are_inside_the_root_and_each_stands_once() -> None:
    root = Path("/versions/a")
    assert imports.import_paths(root, ["", "dags"]) == ["/versions/a", "/versions/a/dags"]
    assert imports.import_paths(root, [".", "", "lib/", "./lib"]) == ["/versions/a", "/versions/a/lib"]


def test_each_snapshot_imports_its_own(roots: list[Path]) -> None:
    for root in (roots[0], roots[1], roots[0]):
        imports.use(root, ["", "dags"])
        for name in ("teamlib", "shared", "space.inner"):
            module = importlib.import_module(name)
            assert vars(module)["WHICH"] == root.name, name
    assert [entry for entry in sys.path if str(roots[0].parent) in entry] == [str(roots[0]), str(roots[0] / "dags")]


def test_using_it_again_changes_nothing(roots: list[Path]) -> None:
    imports.use(roots[0], ["", "dags"])
    module, path = importlib.import_module("teamlib"), list(sys.path)
    imports.use(roots[0], ["", "dags"])
    assert importlib.import_module("teamlib") is module
    assert sys.path == path


def test_a_team_can_not_take_the_place_of_a_library(roots: list[Path]) -> None:
    sys.modules.pop("json")
    imports.use(roots[0], [""])
    assert not hasattr(importlib.import_module("json"), "WHICH")


def test_this_process_runs_no_team_code() -> None:
    assert not imports.runs_team_code()


@pytest.mark.parametrize(
    ("argv", "runs"),
    [
        (["/venv/bin/airflow", "dags", "test", "a"], True),
        (["/venv/bin/airflow", "tasks", "test"], True),
        (["/venv/bin/airflow", "scheduler"], False),
        (["/venv/bin/airflow", "api-server"], False),
        (["/venv/bin/airflow"], False),
        (["-c"], False),
    ],
)
def test_airflows_commands_that_run_dags_do(monkeypatch: pytest.MonkeyPatch, argv: list[str], runs: bool) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert imports.runs_team_code() is runs
