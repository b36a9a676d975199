"""``up`` and ``down``: the platform of ``aerodrome.yaml`` on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aerodrome.cli.options import Place, as_json, place
from aerodrome.errors import AerodromeError

if TYPE_CHECKING:
    from aerodrome.config.installation import Installation
    from aerodrome.local.state import State

_START = 240.0


@click.command()
@place
@click.option("-d", "--detach", is_flag=True, help="Return when the platform works, and leave it running.")
def up(place: Place, detach: bool) -> int:
    """Run the platform of aerodrome.yaml on this machine.

    Stays in the foreground: Ctrl-C stops everything (a second one without waiting for running tasks). With --detach
    it goes on in the background until 'aerodrome down'. When the platform runs already, what the file has changed is
    applied: tasks of teams that were not touched go on.
    """
    from aerodrome.local import control
    from aerodrome.local.state import State

    installation = place.open()
    state = State(installation.state)
    if control.status(state) is not None:
        return _apply(state)
    state.make()
    if detach:
        return _detach(installation, state)
    return _foreground(installation, state)


def _foreground(installation: Installation, state: State) -> int:
    from aerodrome.cli.progress import Progress
    from aerodrome.local.control import error_of
    from aerodrome.local.guard import Guard

    error: AerodromeError | None = None
    with Guard(installation) as guard, Progress() as progress:
        for event in guard.events():
            progress.show(event)
            if event["event"] == "error":
                error = error_of(event)
            elif event["event"] == "ready":
                progress.say(_welcome(installation, state, str(event["url"])))
                progress.say("Ctrl-C stops it.")
    if error is not None:
        raise error
    if not guard.asked_to_stop and guard.code != 0:
        raise AerodromeError(
            f"the supervisor has died ({_death(guard.code)}); everything that it ran was ended",
            "Start again with 'aerodrome up': nothing is lost.",
        )
    return 0


def _detach(installation: Installation, state: State) -> int:
    from aerodrome.cli.progress import Progress
    from aerodrome.local import control

    log = state.logs / "up.log"
    argv = [sys.executable, "-m", "aerodrome", "up", "-c", str(installation.path), "--state", str(installation.state)]
    with log.open("w") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + _START
    with Progress() as progress:
        while time.monotonic() < deadline:
            for event in control.ask(state, "follow"):
                progress.show(event)
                if event["event"] == "ready":
                    progress.say(_welcome(installation, state, str(event["url"])))
                    progress.say("'aerodrome down' stops it.")
                    # it is the background's child from now on
                    child.returncode = 0
                    return 0
            if child.poll() is not None:
                click.echo(log.read_text().strip(), err=True)
                return child.returncode or 1
            time.sleep(0.1)
    raise AerodromeError("the platform is not ready yet", f"Look with 'aerodrome status'; its log is {log}.")


def _apply(state: State) -> int:
    from aerodrome.local import control

    answer: dict[str, Any] = next(control.ask(state, "apply"), {})
    if not answer:
        raise AerodromeError("the platform has just stopped", "Run 'aerodrome up' again.")
    done = answer.get("done", [])
    click.echo("It runs already; applied what has changed:" if done else "It runs already, as the file says:")
    for line in done:
        click.echo(f"  {line}")
    for component in answer["components"]:
        click.echo(f"  {component['name']:<28} {component['state']:<9} process {component['pid']}")
    click.echo(f"UI: {answer['url']}")
    return 0


@click.command()
@place
@as_json
@click.option("--now", is_flag=True, help="Do not wait for running tasks.")
@click.option("--purge", is_flag=True, help="Remove the state folder too: database, snapshots, logs, passwords.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def down(place: Place, as_json: bool, now: bool, purge: bool, yes: bool) -> int:
    """Stop the platform of this machine, wherever it was started."""
    from aerodrome.local import control, kinship
    from aerodrome.local.state import State

    state = State(place.state)
    found = control.status(state) if state.folder.exists() else None
    running = found is not None
    if purge and not yes:
        click.confirm(f"Remove {state.folder} with its database, snapshots, logs and passwords?", abort=True)
    if found is not None:
        for event in control.ask(state, "kill" if now else "down"):
            if not as_json and event["event"] == "component" and event["state"] == "stopped":
                click.echo(f"{event['name']} stopped")
        kinship.wait_for_end(found["supervisor"])
    # the guard above the supervisor clears up after it; what a crash has left is cleared up here
    left = kinship.end(lambda: kinship.marked(state.folder)) if state.folder.exists() else 0
    if purge and state.folder.exists():
        _purge(state)
    if as_json:
        click.echo(json.dumps({"was_running": running, "left_over": left, "purged": purge}))
    elif left and not running:
        click.echo(f"ended {left} processes that a crash had left")
    elif not running:
        click.echo("nothing runs here")
    if purge and not as_json:
        click.echo(f"removed {state.folder}")
    return 0


def _purge(state: State) -> None:
    # only what is a state folder: a mistyped --state must not cost a home folder
    if not (state.folder / "run").is_dir() or not (state.folder / "secrets").is_dir():
        raise AerodromeError(f"{state.folder} does not look like a state folder", "Remove it yourself if it is one.")
    sockets = state.sockets
    if sockets.parent != state.folder:
        shutil.rmtree(sockets, ignore_errors=True)
    try:
        shutil.rmtree(state.folder)
    except OSError as error:
        raise AerodromeError(f"{error.filename} can not be removed: {error.strerror}", "Remove it yourself.") from None


def _welcome(installation: Installation, state: State, url: str) -> str:
    if installation.config.auth.manager is not None:
        return f"UI: {url}"
    users = ", ".join(user.name for user in installation.config.auth.simple.users)
    return f"UI: {url}\nLog in as {users}; passwords are in {_short(state.passwords)}"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _death(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
