"""A platform of this machine, run by the command line as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aerodrome.local import kinship, repository
from aerodrome.local.airflow_api import AirflowApi

_TEAM = """\
  - name: {name}
    repo: {repo}
    dags: dags
"""


class Machine:
    """A folder with ``aerodrome.yaml`` and the teams' repositories."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "aerodrome.yaml"
        self.state = folder / ".aerodrome"
        self._api: AirflowApi | None = None

    def run(self, *arguments: str, code: int = 0, timeout: float = 100) -> str:
        """Run ``aerodrome``. Returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "aerodrome", *arguments, *self._place()],
            capture_output=True, text=True, timeout=timeout, check=False, env=_environment(),
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout + done.stderr

    def foreground(self) -> subprocess.Popen[str]:
        """``aerodrome up`` in the foreground, ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "aerodrome", "up", *self._place()],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment(),
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                self._api = None
                return process
        raise AssertionError(f"it ended with {process.wait()}\n{self.logs()}")

    def teams(self, *names: str) -> None:
        """Write the configuration."""
        teams = "".join(_TEAM.format(name=name, repo=self.folder / name) for name in names)
        self.file.write_text(
            f"sync: {{poll: 1s}}\nairflow: {{scheduler: {{scheduler_idle_sleep_time: 0.2}}}}\nteams:\n{teams}"
        )

    def repository(self, team: str, files: dict[str, str]) -> str:
        """Make the team's repository. Returns its commit."""
        folder = self.folder / team
        folder.mkdir()
        repository.git(folder, "init", "--quiet", "--initial-branch=main")
        return self.commit(team, files)

    def commit(self, team: str, files: dict[str, str]) -> str:
        """Change files of the team. Returns the commit."""
        for name, text in files.items():
            path = self.folder / team / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return repository.commit(self.folder / team, "A change")

    def status(self) -> dict[str, Any]:
        """What ``status --json`` says."""
        done = subprocess.run(
            [sys.executable, "-m", "aerodrome", "status", "--json", *self._place()],
            capture_output=True, text=True, timeout=60, check=False, env=_environment(),
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def component(self, name: str) -> dict[str, Any]:
        """One line of it."""
        return next(part for part in self.status()["components"] if part["name"] == name)

    @property
    def api(self) -> AirflowApi:
        """Airflow's API, as the administrator."""
        if self._api is None:
            passwords = json.loads(next(self.state.rglob("*passwords*")).read_text())
            port = int(self.status()["url"].rpartition(":")[2])
            user = next(iter(passwords))
            self._api = AirflowApi(port, user, passwords[user])
        return self._api

    def live(self, team: str, dag_id: str, commit: str) -> None:
        """Wait until the commit is live."""
        self.until(lambda: (self.api.dag(dag_id) or {}).get("bundle_version") == commit, f"{team} at {commit}")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait for `condition`."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} not reached in {seconds} s\n{self.logs()}"
            time.sleep(0.05)
        return value

    def left(self) -> list[psutil.Process]:
        """What runs of the platform."""
        return kinship.marked(self.state)

    def logs(self) -> str:
        """The ends of all logs."""
        found = sorted((self.state / "logs").glob("*.log")) if self.state.exists() else []
        ends = {log.name: log.read_text(errors="replace").splitlines()[-15:] for log in found}
        return "\n".join("\n".join([f"--- {name}", *lines]) for name, lines in ends.items())[-15000:]

    def _place(self) -> tuple[str, ...]:
        return ("-c", str(self.file))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AERODROME"))}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine; whatever the tests leave running is ended."""
    machine = Machine(tmp_path_factory.mktemp("platform"))
    try:
        yield machine
    finally:
        kinship.end(machine.left)
