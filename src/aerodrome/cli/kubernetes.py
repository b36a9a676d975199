"""``render``, ``apply``, ``destroy`` and ``doctor``: the platform of ``aerodrome.yaml`` on Kubernetes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aerodrome.cli.options import Place, as_json, place

if TYPE_CHECKING:
    from aerodrome.kubernetes.apply import Apply, Result

context = click.option("--context", metavar="NAME", help="Of the kubeconfig.  [default: its current one]")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command()
@place
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Where to; default: one text.")
def render(place: Place, output: Path | None) -> None:
    """Write the Kubernetes manifests of aerodrome.yaml.

    One file an object below DIR, the same bytes for the same configuration; what an earlier render wrote there and is
    no more is removed. Secrets are not among them: 'aerodrome apply --secrets-only' makes those that can be generated.
    """
    from aerodrome.kubernetes import render as rendering

    files = rendering.render(place.open().config, place.config.name)
    if output is None:
        click.echo(rendering.stream(text for name, text in files.items() if name.endswith(".yaml")), nl=False)
        return
    changed = rendering.write(files, output)
    click.echo(f"{len(files)} files in {output}, {len(changed)} of them changed")


@click.command()
@place
@context
@yes
@click.option("--dry-run", is_flag=True, help="Show what would change and what would start anew; change nothing.")
@click.option("--prune", is_flag=True, help="Remove what teams that are no longer in the file have left; asks.")
@click.option("--secrets-only", is_flag=True, help="Make keys and passwords only, for manifests that others apply.")
@click.option("--accept-generated-passwords", is_flag=True, help="Let an Ingress lead to generated passwords.")
@click.option(
    "--timeout", type=float, default=900, show_default=True, metavar="SECONDS", help="For each part to start."
)
def apply(
    place: Place,
    context: str | None,
    yes: bool,
    dry_run: bool,
    prune: bool,
    secrets_only: bool,
    accept_generated_passwords: bool,
    timeout: float,
) -> int:
    """Bring a cluster to what aerodrome.yaml says, and wait until it works.

    The second run changes nothing, and says so. What fails leaves running what runs.
    """
    from aerodrome.kubernetes.apply import Apply
    from aerodrome.kubernetes.cluster import Cluster

    config = place.open().config
    with Cluster(context) as cluster:
        work = Apply(config, cluster, _clock(), timeout=timeout, accept_generated_passwords=accept_generated_passwords)
        if secrets_only:
            made = work.make_secrets()
            click.echo(f"made {len(made)} Secrets" if made else "all keys and passwords are there")
            return 0
        if dry_run:
            _show_plan(work.plan())
            return 0
        begun = time.monotonic()
        result = work.run()
        _show(result, time.monotonic() - begun)
        if result.left and prune:
            _prune(work, cluster, config, result.left, yes)
        elif result.left:
            click.echo(
                f"no longer in the file: {', '.join(result.left)}; 'aerodrome apply --prune' removes what is left"
            )
    return 0


def _prune(work: Apply, cluster: Any, config: Any, left: list[str], yes: bool) -> None:
    from aerodrome.kubernetes.destroy import Destroy

    what = "namespaces, pools, variables and connections"
    if not yes:
        click.confirm(f"Remove {what} of {', '.join(left)}? The history of their runs stays.", abort=True)
    work.forget(left)
    Destroy(config, cluster, _clock()).remove_teams(left)


def _show(result: Result, seconds: float) -> None:
    if result.nothing:
        click.echo(f"nothing to change: all {len(result.changes)} objects are as the file says, and everything works")
        return
    created = sum(change.action == "create" for change in result.changes)
    changed = sum(change.action == "change" for change in result.changes)
    click.echo(
        f"done in {seconds:.0f} s: {created} created, {changed} changed, {len(result.removed)} removed; "
        "everything works"
    )


def _show_plan(result: Result) -> None:
    from aerodrome.kubernetes.cluster import Ref

    for name in result.made:
        click.echo(f"make        Secret {name}")
    for change in result.changes:
        if change.action != "same":
            click.echo(f"{change.action:<11} {Ref.of(change.entry)}")
            if change.difference:
                click.echo("\n".join(f"    {line}" for line in change.difference.splitlines()))
    for ref in result.removed:
        click.echo(f"remove      {ref}")
    restarts = [change.restarts for change in result.changes if change.restarts]
    if result.nothing:
        click.echo(f"nothing to change: all {len(result.changes)} objects are as the file says")
    elif restarts:
        click.echo("starts anew:")
        for words in restarts:
            click.echo(f"    {words}")
    else:
        click.echo("nothing that runs starts anew")
    if result.left:
        click.echo(f"no longer in the file: {', '.join(result.left)}; --prune removes what is left of them")


@click.command()
@place
@context
@yes
@click.option("--delete-database", is_flag=True, help="The database's volume and all keys too.")
@click.option("--delete-store", is_flag=True, help="All snapshots, verdicts and logs in the store too.")
def destroy(place: Place, context: str | None, yes: bool, delete_database: bool, delete_store: bool) -> int:
    """Take the platform off the cluster. Database, keys and store stay unless told otherwise."""
    from aerodrome.kubernetes.cluster import Cluster
    from aerodrome.kubernetes.destroy import Destroy

    config = place.open().config
    with Cluster(context) as cluster:
        work = Destroy(config, cluster, _clock())
        found = work.find()
        if found.nothing and not delete_store:
            click.echo(f"there is no installation {config.name} on this cluster")
            return 0
        if not yes:
            teams = f", the namespaces of {', '.join(sorted(found.teams))}" if found.teams else ""
            database = ", THE DATABASE AND ALL KEYS" if delete_database and found.database else ""
            store = f", EVERYTHING IN {config.store}" if delete_store else ""
            click.confirm(
                f"Remove {len(found.objects)} objects of {config.name}{teams}{database}{store} from {cluster.server}?",
                abort=True,
            )
        if delete_store:
            count = work.empty_store()
            click.echo(f"removed {count} objects from {config.store}")
        work.run(found, database=delete_database)
        kept = [] if delete_database else [str(ref) for ref in found.database]
        click.echo(f"kept: {', '.join(kept)}" if kept else "nothing is left on the cluster")
    return 0


@click.command()
@place
@context
@as_json
def doctor(place: Place, context: str | None, as_json: bool) -> int:
    """Say what the cluster, the store, the database and each repository lack, each with its remedy."""
    from aerodrome.kubernetes.doctor import Doctor

    progress = (lambda _: None) if as_json else click.echo
    problems = Doctor(place.open(), context, progress).run()
    if as_json:
        click.echo(json.dumps([{"what": problem.what, "remedy": problem.remedy} for problem in problems]))
    elif problems:
        click.echo("")
        for problem in problems:
            click.echo(f"{problem.what}\n    {problem.remedy}")
    return 1 if problems else 0


def _clock() -> Callable[[str], None]:
    begun = time.monotonic()
    return lambda text: click.echo(f"{time.monotonic() - begun:6.1f} s  {text}")
