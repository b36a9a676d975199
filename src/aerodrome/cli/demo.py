"""``demo``: a platform with two sample teams, to look at or (``--once``) to be shown."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aerodrome.cli.options import as_json, log
from aerodrome.errors import AerodromeError

if TYPE_CHECKING:
    from aerodrome.cli.progress import Progress
    from aerodrome.config.installation import Installation
    from aerodrome.local.demo import Demo, Line
    from aerodrome.local.guard import Guard


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), envvar="AERODROME_STATE", metavar="DIR",
    default=Path(".aerodrome-demo"), show_default=True, help="Folder of the demonstration; made anew each time.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Walk through the story, print it as a table, and end; exit 1 if it fails.")
@as_json
@click.option("-v", "--verbose", count=True, help="Say more; twice: everything.")
def demo(state: Path, once: bool, as_json: bool, verbose: int) -> int:
    """Run a platform with two sample teams, each with a Git repository of its own. Ctrl-C ends all of it."""
    began = time.monotonic()
    log(verbose)
    from aerodrome.local import control
    from aerodrome.local.demo import Demo
    from aerodrome.local.state import State

    made = Demo(state.absolute())
    running = made.folder.exists() and control.status(State(made.folder / ".aerodrome")) is not None
    if running:
        raise AerodromeError(
            f"a demonstration runs already in {made.folder}",
            "End it with Ctrl-C where it runs, or name another --state.",
        )
    installation = made.create()
    return _once(made, installation, began, as_json) if once else _look_on(made, installation, began)


def _once(made: Demo, installation: Installation, began: float, as_json: bool) -> int:
    from aerodrome.cli.progress import Progress
    from aerodrome.local import kinship
    from aerodrome.local.demo import Line, Story
    from aerodrome.local.guard import Guard

    lines: list[Line] = []
    with Guard(installation, everyone_is_admin=True) as guard, Progress(quiet=as_json) as progress:

        def tell(line: Line) -> None:
            lines.append(line)
            progress.say(f"{time.monotonic() - began:6.1f} s  {'ok' if line.true else 'NO'}  {line.what}")

        def story(port: int) -> None:
            Story(made, installation, port, began, tell, alive=lambda: not guard.has_ended).tell_all()

        stopped = _with_platform(guard, progress, story)
    left = kinship.marked(installation.state)
    ended = time.monotonic()
    lines.append(
        Line("nothing is left running", not left, round(time.monotonic() - ended, 2), f"{len(left)} processes")
    )
    true = all(line.true for line in lines) and not stopped and len(lines) > 1
    if as_json:
        click.echo(json.dumps({"true": true, "lines": [vars(line) for line in lines]}, indent=2))
    else:
        _table(lines, time.monotonic() - began)
        if not true:
            click.echo(f"\nLogs: {installation.state / 'logs'}")
    return 0 if true else 1


def _look_on(made: Demo, installation: Installation, began: float) -> int:
    from aerodrome.cli.progress import Progress
    from aerodrome.local.demo import TEAMS, Watch
    from aerodrome.local.guard import Guard

    with Guard(installation, everyone_is_admin=True) as guard, Progress() as progress:

        def watch(port: int) -> None:
            progress.say(f"\nUI: http://localhost:{port}  (no login: everybody on this machine is an admin of it)")
            progress.say(f"Change a team's DAGs and push:  cd {made.clone(TEAMS[0])} && $EDITOR dags/settlement.py")
            progress.say("                                git commit -am 'A change' && git push")
            progress.say("Ctrl-C ends all of it.\n")
            looking = Watch(installation, port)
            while not guard.has_ended and not guard.asked_to_stop:
                looking.start_runs()
                for line in looking.news():
                    progress.say(f"{time.monotonic() - began:6.1f} s  {line}")
                time.sleep(0.5)

        _with_platform(guard, progress, watch)
    return 0


def _with_platform(guard: Guard, progress: Progress, work: Any) -> bool:
    """Follow the platform; once it is ready do `work` with its port beside. Returns whether somebody stopped it.

    Raises:
        AerodromeError: the platform, or the work.
    """
    from aerodrome.local.control import error_of

    failures: list[Exception] = []
    worker: threading.Thread | None = None

    def beside(port: int) -> None:
        try:
            work(port)
        except Exception as error:
            if not guard.asked_to_stop:
                failures.append(error)
        finally:
            stopped.append(guard.asked_to_stop)
            guard.stop()

    stopped: list[bool] = []
    for event in guard.events():
        if event["event"] == "error":
            failures.append(error_of(event))
        progress.show(event)
        if event["event"] == "ready":
            port = int(str(event["url"]).rpartition(":")[2])
            worker = threading.Thread(target=beside, args=(port,), daemon=True)
            worker.start()
    if worker is not None:
        worker.join(timeout=5)
    if failures:
        raise failures[0]
    return any(stopped) or worker is None


def _table(lines: list[Line], seconds: float) -> None:
    from aerodrome.cli.tables import table

    click.echo()
    table(
        ("", "WHAT", "SECONDS", "SEEN"),
        [("ok" if line.true else "NO", line.what, f"{line.seconds:.2f}", line.seen) for line in lines],
    )
    click.echo(f"\n{sum(line.true for line in lines)} of {len(lines)} are true; {seconds:.0f} s in all")
