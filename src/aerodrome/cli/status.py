"""``status``: what runs, and what of each team is live."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from aerodrome.cli.options import Place, as_json, place

if TYPE_CHECKING:
    from aerodrome.config import Config


@click.command()
@place
@click.option("--context", metavar="NAME", help="Of the kubeconfig: the platform in that cluster.")
@as_json
def status(place: Place, context: str | None, as_json: bool) -> int:
    """Show what runs, and each team's commit, last verdict and what is live.

    Of the platform on this machine; where none runs and the file has a section 'kubernetes', of the one in the
    cluster. Exit code 0: everything runs. 1: the platform is not running, or a part of it is not.
    """
    from aerodrome.local.overview import overview, runs

    installation = place.open()
    of_cluster = "kubernetes" in installation.config.model_fields_set and not runs(installation)
    if context is not None or of_cluster:
        return _of_cluster(installation.config, context, as_json)
    found = overview(installation)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _components(found)
        _teams(found["teams"])
    return 0 if found["healthy"] else 1


def _of_cluster(config: Config, context: str | None, as_json: bool) -> int:
    from aerodrome.kubernetes.cluster import Cluster
    from aerodrome.kubernetes.overview import overview

    with Cluster(context) as cluster:
        found = overview(config, cluster)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return 0 if found["healthy"] else 1
    if not found["running"]:
        click.echo(f"The platform is not on the cluster {found['server']}; bring it there with 'aerodrome apply'.")
        return 1
    _workloads(found["components"])
    _teams(found["teams"], of_cluster=True)
    for line in found["unknown"]:
        click.echo(f"\nnot known: {line}")
    return 0 if found["healthy"] else 1


def _workloads(components: list[dict[str, Any]]) -> None:
    from aerodrome.cli.tables import ago, table

    rows = []
    for component in components:
        rows += [
            (
                component["name"],
                component["state"],
                pod["name"],
                pod["node"] or "",
                pod["state"],
                ago(datetime.fromisoformat(pod["since"])),
                str(pod["restarts"] or ""),
            )
            for pod in component["pods"]
        ] or [(component["name"], component["state"], "", "", component["words"], "", "")]
    table(("COMPONENT", "STATE", "POD", "NODE", "POD'S STATE", "SINCE", "RESTARTS"), rows)
    for component in components:
        if component["state"] != "ready":
            click.echo(f"\n{component['name']}: {component['words']}")
            if component["remedy"]:
                click.echo(f"    {component['remedy']}")


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


def _teams(teams: list[dict[str, Any]], *, of_cluster: bool = False) -> None:
    from aerodrome.cli.tables import table

    click.echo()
    if not teams:
        click.echo("There are no teams yet: add one to the configuration.")
        return
    heads = ("TEAM", "FOLLOWS", "NEWEST", "VERDICT", "LIVE", "DAGS", *(("TASKS", "PODS") if of_cluster else ()))
    table(heads, [_row(team) + (_work(team) if of_cluster else ()) for team in teams])
    for team in teams:
        head, verdict = team.get("head"), team.get("verdict")
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

    head, verdict, current = team.get("head"), team.get("verdict"), team.get("current")
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


def _work(team: dict[str, Any]) -> tuple[str, str]:
    """Tasks by state, pods by phase."""
    tasks = ", ".join(f"{count} {state}" for state, count in sorted(team["tasks"].items()))
    pods = ", ".join(f"{count} {phase}" for phase, count in sorted(team["pods"].items()))
    return tasks or "none", pods or "none"


def place_of(finding: dict[str, Any]) -> str:
    """``file:line: `` of a finding, as far as it is known."""
    if not finding["file"]:
        return ""
    return f"{finding['file']}:{finding['line']}: " if finding["line"] else f"{finding['file']}: "


def _commit(snapshot: str) -> str:
    from aerodrome.names import short

    return short(snapshot)
