"""``status``: what runs, and what of each team is live."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from aerodrome.cli.options import Place, as_json, place


@click.command()
@place
@as_json
def status(place: Place, as_json: bool) -> int:
    """Show what runs here, and each team's commit, last verdict and what is live.

    Exit code 0: everything runs. 1: the platform is not running, or a part of it is not.
    """
    from aerodrome.local.overview import overview

    found = overview(place.open())
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _components(found)
        _teams(found["teams"])
    return 0 if found["healthy"] else 1


def _components(found: dict[str, Any]) -> None:
    from aerodrome.cli.tables import ago, size, table

    if not found["running"]:
        click.echo("The platform is not running; start it with 'aerodrome up'.")
        if found["left_over"]:
            click.echo(f"{found['left_over']} processes of it were left by a crash: 'aerodrome down' ends them.")
        return
    click.echo(f"UI: {found['url']}" + ("" if found["healthy"] else "   (not everything runs)"))
    click.echo()
    rows = [
        (
            part["name"],
            part["state"] + (f", ended with {part['exit']}" if part["state"] == "waiting" else ""),
            str(part["pid"] or ""),
            ago(datetime.fromtimestamp(part["since"]).astimezone()),
            str(part["restarts"] or ""),
            size(part["memory"]) if part["pid"] else "",
            f"{part['cpu']:.1f} s" if part["pid"] else "",
        )
        for part in found["components"]
    ]
    table(("COMPONENT", "STATE", "PROCESS", "SINCE", "RESTARTS", "MEMORY", "CPU"), rows)
    whole = sum(part["memory"] for part in found["components"])
    click.echo(f"\nmemory together: {size(whole)}; logs: {found['state']}/logs")


def _teams(teams: list[dict[str, Any]]) -> None:
    from aerodrome.cli.tables import table

    click.echo()
    if not teams:
        click.echo("There are no teams yet: add one to the configuration.")
        return
    table(("TEAM", "FOLLOWS", "NEWEST", "VERDICT", "LIVE", "DAGS"), [_row(team) for team in teams])
    for team in teams:
        head, verdict = team["head"], team["verdict"]
        if head is not None and head["error"]:
            click.echo(f"\n{team['name']}: {head['error']}")
        if verdict is not None and not verdict["passed"]:
            click.echo(f"\n{team['name']}: {_commit(verdict['snapshot'])} was refused:")
            for finding in verdict["findings"]:
                if finding["severity"] == "error":
                    click.echo(f"  {place_of(finding)}{finding['message']}")
                    if finding["remedy"]:
                        click.echo(f"    {finding['remedy']}")


def _row(team: dict[str, Any]) -> tuple[str, ...]:
    from aerodrome.cli.tables import ago

    head, verdict, current = team["head"], team["verdict"], team["current"]
    if head is None:
        newest, judged = "not fetched yet", ""
    elif head["snapshot"] is None:
        newest, judged = "no commit", ""
    else:
        newest = f"{_commit(head['snapshot'])}, {ago(datetime.fromisoformat(head['seen']))}"
        judged = "waiting" if verdict is None else "passed" if verdict["passed"] else "refused"
    if head is not None and head["error"]:
        newest += " (fetching fails)"
    live = "nothing yet"
    if current is not None:
        live = _commit(current["snapshot"]) + (", pinned" if current["pinned"] else "")
    return team["name"], team["ref"] or "HEAD", newest, judged, live, str(len(team["dags"]))


def place_of(finding: dict[str, Any]) -> str:
    """``file:line: `` of a finding, as far as it is known."""
    if not finding["file"]:
        return ""
    return f"{finding['file']}:{finding['line']}: " if finding["line"] else f"{finding['file']}: "


def _commit(snapshot: str) -> str:
    from aerodrome.names import short

    return short(snapshot)
