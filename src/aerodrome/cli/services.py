"""The services ``sync``, ``processor`` and ``triggerer``, as ``up`` and the manifests start them."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from aerodrome.cli.options import Place, place
from aerodrome.errors import UsageError


@click.command()
@place
@click.option("--once", is_flag=True, help="One pass over all teams; exit 1 if one of them failed.")
@click.option(
    "--poke", "pokes", multiple=True, metavar="TEAM=HOST:PORT", help="Where a team's processor wants to hear of news."
)
def sync(place: Place, once: bool, pokes: tuple[str, ...]) -> int:
    """Follow the teams' repositories and publish their commits as snapshots."""
    from aerodrome.sync.service import run

    return run(place.open(), once, dict(_poke(text) for text in pokes))


@click.command()
@place
@click.option("--team", required=True, metavar="TEAM", help="Whose commits to judge.")
@click.option("--once", is_flag=True, help="Judge what there is and end; exit 1 if it was refused.")
@click.option("--listen", metavar="HOST:PORT", help="Where to hear of news (UDP); polls the store in any case.")
def processor(place: Place, team: str, once: bool, listen: str | None) -> NoReturn:
    """Parse and judge a team's commits, and make those that pass live in Airflow."""
    _become(
        place, team, "processor", [*(["--once"] if once else []), *(["--listen", listen] if listen is not None else [])]
    )


@click.command()
@place
@click.option("--team", required=True, metavar="TEAM", help="Whose deferred tasks to run.")
def triggerer(place: Place, team: str) -> NoReturn:
    """Run a team's deferred tasks."""
    _become(place, team, "triggerer", [])


def _become(place: Place, team: str, service: str, arguments: list[str]) -> NoReturn:
    installation = place.open()
    found = installation.config.team(team)
    environment = dict(os.environ)
    if "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment:
        # By hand, beside or in place of the platform of this machine.
        from aerodrome.local.environment import Environments
        from aerodrome.local.platform import USUAL_PORT
        from aerodrome.local.ports import Ports
        from aerodrome.local.state import State

        state = State(installation.state)
        if not state.database.exists() and installation.config.database.url is None:
            raise UsageError(
                f"there is no database in {installation.state}",
                "Start the platform once ('aerodrome up'), or set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN.",
            )
        port = Ports(state.ports).known("api-server") or USUAL_PORT
        role = "processor" if service == "processor" else "triggerer"
        environment |= Environments(installation, port=port).airflow(role, found)  # type: ignore[arg-type]
    sys.stdout.flush()
    here = ["-c", str(installation.path), "--state", str(installation.state)]
    argv = [sys.executable, "-m", f"aerodrome.airflow.{service}", "--team", team, *here, *arguments]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - the service is a program of its own


def _poke(text: str) -> tuple[str, tuple[str, int]]:
    team, _, place = text.partition("=")
    host, _, port = place.rpartition(":")
    if not team or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--poke {text} is not TEAM=HOST:PORT", "For example: --poke payments=127.0.0.1:9871")
    return team, (host.strip("[]"), int(port))
