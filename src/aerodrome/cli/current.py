"""What is live: ``history``, ``rollback``, ``resume``, ``recheck``. Work wherever the store can be reached."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING

import click

from aerodrome import names
from aerodrome.cli.options import Place, as_json, place
from aerodrome.errors import AerodromeError

if TYPE_CHECKING:
    from aerodrome.store import TeamStore
    from aerodrome.store.records import Verdict

team_argument = click.argument("team", metavar="TEAM")


@click.command()
@place
@team_argument
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many moves.")
@as_json
def history(place: Place, team: str, limit: int, as_json: bool) -> None:
    """Show what was live when, and why: the newest first."""
    store = _store(place, team)
    moves = store.history(limit)
    subjects = {}
    for move in moves:
        manifest = store.manifest(move.snapshot)
        subjects[move.snapshot] = manifest.subject if manifest is not None else ""
    if as_json:
        click.echo(
            json.dumps(
                [move.model_dump(mode="json") | {"subject": subjects[move.snapshot]} for move in moves], indent=2
            )
        )
        return
    if not moves:
        click.echo(f"nothing of {team} has been live yet")
        return
    from aerodrome.cli.tables import table, when

    rows = [
        (
            str(move.number),
            when(move.when),
            names.short(move.snapshot),
            move.why + (", pinned" if move.pinned else ""),
            move.who,
            subjects[move.snapshot],
        )
        for move in moves
    ]
    table(("MOVE", "WHEN", "COMMIT", "WHY", "WHO", "SUBJECT"), rows)


@click.command()
@place
@team_argument
@click.argument("commit", metavar="[COMMIT]", required=False)
@as_json
def rollback(place: Place, team: str, commit: str | None, as_json: bool) -> None:
    """Make an earlier COMMIT live, by default the one that was live before, and keep it until 'aerodrome resume'.

    COMMIT is the beginning of a commit that has passed the gate. Runs that are under way stay at their own commit.
    """
    store = _store(place, team)
    current = store.current()
    snapshot = _earlier(store, team) if commit is None else _find(store, team, commit)
    move = store.move(
        snapshot, why="rollback", who=_user(), expected=current, verdict=_passed(store, team, snapshot), pinned=True
    )
    if as_json:
        click.echo(move.model_dump_json(indent=2))
    else:
        click.echo(f"{team}: {names.short(snapshot)} is live, and stays so until 'aerodrome resume {team}'")


@click.command()
@place
@team_argument
@as_json
def resume(place: Place, team: str, as_json: bool) -> None:
    """Follow the repository again after a rollback: the newest commit that passes goes live."""
    move = _store(place, team).unpin(_user())
    if as_json:
        click.echo(move.model_dump_json(indent=2))
    else:
        click.echo(f"{team}: follows its repository again; live now: {names.short(move.snapshot)}")


@click.command()
@place
@team_argument
@as_json
def recheck(place: Place, team: str, as_json: bool) -> None:
    """Have the newest commit judged again: for a refusal whose cause lay outside Git."""
    head = _store(place, team).request_recheck()
    if as_json:
        click.echo(head.model_dump_json(indent=2))
    elif head.snapshot is None:
        click.echo(f"{team}: nothing to judge yet: no commit has been fetched")
    else:
        click.echo(f"{team}: {names.short(head.snapshot)} will be judged again; see 'aerodrome status'")


def _store(place: Place, team: str) -> TeamStore:
    from aerodrome.store import Store

    installation = place.open()
    return Store(installation.store_url, installation.store_options).team(installation.config.team(team).name)


def _earlier(store: TeamStore, team: str) -> str:
    moves = store.history(1000)
    live = moves[0].snapshot if moves else None
    for move in moves[1:]:
        if move.snapshot != live:
            return move.snapshot
    raise AerodromeError(
        f"{team} has nothing earlier to go back to",
        f"Name a commit that passed the gate: aerodrome rollback {team} COMMIT.",
    )


def _find(store: TeamStore, team: str, commit: str) -> str:
    found = [snapshot for snapshot in store.snapshots() if snapshot.startswith(commit.lower())]
    if len(found) > 1 and (live := [move.snapshot for move in store.history(1000) if move.snapshot in found]):
        # one commit under several settings: as it was live last
        found = live[:1] if len({names.commit_of(snapshot) for snapshot in found}) == 1 else found
    if not found:
        raise AerodromeError(
            f"the store holds no commit of {team} that begins with {commit!r}",
            f"See 'aerodrome history {team}'; an older commit comes back by pushing it again.",
        )
    if len(found) > 1:
        raise AerodromeError(
            f"{commit!r} is the beginning of {len(found)} commits of {team}: "
            + ", ".join(names.short(snapshot) for snapshot in found[:5]),
            "Give more digits.",
        )
    return found[0]


def _passed(store: TeamStore, team: str, snapshot: str) -> Verdict:
    verdicts = sorted(store.verdicts(snapshot), key=lambda verdict: verdict.judged, reverse=True)
    for verdict in verdicts:
        if verdict.passed:
            return verdict
    state = "was refused" if verdicts else "has never been judged"
    raise AerodromeError(
        f"{names.short(snapshot)} of {team} {state}, so that it can not be live",
        f"Name a commit that passed: see 'aerodrome history {team}'.",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
