"""Where a bench works: folders on disk and in memory, programs, and Aerodrome's installation of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from aerodrome.config.installation import Installation

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Place:
    """Folders of one run, removed at its end.

    Args:
        disk: on a disk.
        memory: on tmpfs; None where the machine has none.
        say: shows progress.
    """

    disk: Path
    memory: Path | None
    say: Callable[[str], None]

    def folder(self, name: str) -> Path:
        """A new folder on disk."""
        path = self.disk / name
        path.mkdir(parents=True)
        return path


def basic_environment(home: Path) -> dict[str, str]:
    """The environment of every program: this one's without settings of Airflow, Git's secrets and Aerodrome."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW", "AERODROME", "GIT_"))}
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONUNBUFFERED": "1",
    }


def installation(folder: Path, teams: Mapping[str, str], **keys: object) -> Installation:
    """An installation in `folder` whose state is beside its file.

    Args:
        teams: name to repository.
        keys: further keys of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "aerodrome.yaml"
    content = {**keys, "teams": [{"name": name, "repo": repo, "ref": "main"} for name, repo in teams.items()]}
    path.write_text(yaml.safe_dump(content))
    return Installation.open(path, folder / "state")


def publish(installed: Installation) -> None:
    """One pass of sync: the newest commit of every team is in the store.

    Raises:
        RuntimeError: with what sync said.
    """
    done = subprocess.run(
        [*aerodrome("sync", installed), "--once"],
        env=basic_environment(installed.state),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)


def aerodrome(command: str, installed: Installation) -> list[str]:
    """The command line of a service of `installed`."""
    return [str(BIN / "aerodrome"), command, "-c", str(installed.path), "--state", str(installed.state)]


@contextlib.contextmanager
def program(argv: list[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs while the context lasts; it and its group are ended then."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield child
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait(
    what: str,
    condition: Callable[[], bool],
    timeout: float,
    child: subprocess.Popen[bytes] | None = None,
    *,
    log: Path | None = None,
    pause: float = 0.05,
) -> float:
    """Wait until `condition` holds; gives the seconds that it took.

    Raises:
        RuntimeError: it does not, or `child` ended; with the end of `log`.
    """
    begun = time.monotonic()
    while not condition():
        ended = child is not None and child.poll() is not None
        if ended or time.monotonic() - begun > timeout:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:]) if log and log.exists() else ""
            raise RuntimeError(f"{what}: {'its program ended' if ended else f'not within {timeout:g} s'}\n{tail}")
        time.sleep(pause)
    return time.monotonic() - begun


def answer(argv: list[str], env: Mapping[str, str]) -> dict[str, float]:
    """Run `argv` and read the JSON on the last line that it printed.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    done = subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def medium(folder: Path) -> str:
    """The kind of file system that `folder` is on (``ext4``, ``tmpfs``, ...)."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, fs, *_ = line.split()
        inside = str(folder.resolve()).startswith(where if where.endswith("/") else where + "/") or where == "/"
        if inside and len(where) >= len(best):
            best, kind = where, fs
    return kind
