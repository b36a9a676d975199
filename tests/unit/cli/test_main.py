from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from aerodrome import cli

Aerodrome = Callable[..., Any]


def test_an_unknown_command_names_the_nearest(aerodrome: Aerodrome) -> None:
    said = aerodrome("statsu")
    assert said.code == 2
    assert "Did you mean 'status'?" in said.err


def test_an_unknown_option_is_wrong_usage(aerodrome: Aerodrome) -> None:
    assert aerodrome("status", "--jsno").code == 2


def test_a_missing_configuration_is_wrong_usage_with_a_remedy(
    aerodrome: Aerodrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = aerodrome("status")
    assert said.code == 2
    first, second = said.err.strip().splitlines()
    assert first.startswith("error: there is no configuration")
    assert second == "  Make one with 'aerodrome init', or name it: -c FILE."


def test_all_mistakes_of_a_configuration_at_once(aerodrome: Aerodrome, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("teems: []\nname: 5x\n")
    said = aerodrome("up", "-c", str(tmp_path / "a.yaml"))
    assert said.code == 2
    assert "a.yaml:1:" in said.err
    assert "a.yaml:2:" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(aerodrome: Aerodrome, name: str) -> None:
    said = aerodrome(name, "--help")
    assert said.code == 0
    assert f"aerodrome {name}" in said.out


def test_the_list_of_commands(aerodrome: Aerodrome) -> None:
    said = aerodrome("--help")
    for name, (_, _, line) in cli.COMMANDS.items():
        assert name in said.out
        assert line in said.out


@pytest.mark.parametrize("name", ["up", "down", "status", "history", "sync", "processor", "triggerer", "check"])
def test_every_command_takes_the_installation(name: str) -> None:
    command = cli.aerodrome.get_command(click.Context(cli.aerodrome), name)
    assert command is not None
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"-c", "--config", "--state", "-v"} <= options


def test_version(aerodrome: Aerodrome) -> None:
    assert aerodrome("version").out.startswith("aerodrome 0.")
    assert set(json.loads(aerodrome("version", "--json").out)) == {"aerodrome", "airflow", "python"}


def test_schema(aerodrome: Aerodrome) -> None:
    assert "teams" in json.loads(aerodrome("schema").out)["properties"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(aerodrome: Aerodrome, shell: str) -> None:
    said = aerodrome("completion", shell)
    assert said.code == 0
    assert "_AERODROME_COMPLETE" in said.out


def test_what_is_quick_stays_quick() -> None:
    program = "import sys; from aerodrome.cli import run; run(['version']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"airflow", "pydantic", "rich", "obstore", "psutil", "asyncio", "yaml"}


def test_python_m_is_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aerodrome", "nothing"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "there is no command 'nothing'" in done.stderr


def test_a_reader_that_has_gone_is_no_defect(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m aerodrome schema | head -1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""
