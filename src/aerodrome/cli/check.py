"""``check``: the gate on a repository, before pushing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aerodrome.cli.options import Place, as_json, place
from aerodrome.errors import AerodromeError, UsageError

if TYPE_CHECKING:
    from aerodrome.config import Config, Team


@click.command()
@place
@click.argument("repository", metavar="PATH|URL")
@click.option(
    "--ref", metavar="R", help="Branch, tag or commit; default: the files in PATH as they are, or URL's HEAD."
)
@click.option("--team", metavar="T", help="Whose settings apply; default: the team whose repository it is.")
@as_json
def check(place: Place, repository: str, ref: str | None, team: str | None, as_json: bool) -> int:
    """Parse and judge a repository as the platform would, without a platform.

    PATH may hold changes that are not committed. Variables and connections come from the environment
    (AIRFLOW_VAR_NAME, AIRFLOW_CONN_NAME). Exit code 1 and the findings if it would be refused.
    """
    import logging

    from aerodrome.local import work_tree

    logging.getLogger("aerodrome.sync").setLevel(logging.CRITICAL)  # what is wrong is said once, below
    config, settings = _settings(place, repository, team)
    with tempfile.TemporaryDirectory(prefix="aerodrome-check-") as name:
        where = Path(name)
        path = Path(repository)
        if path.is_dir() and ref is None and not _is_bare(path):
            settings = settings.model_copy(
                update={"repo": str(work_tree.committed(path.absolute(), where)), "ref": None, "credentials": None}
            )
        else:
            settings = settings.model_copy(update={"ref": ref or settings.ref})
        (where / "aerodrome.yaml").write_text(_written(config, settings))
        with work_tree.snapshot(config, settings, where) as (root, manifest):
            verdict = _judge(root, settings, where)
    verdict["commit"] = None if path.is_dir() and ref is None else manifest.commit
    if as_json:
        click.echo(json.dumps(verdict, indent=2))
    else:
        _tell(verdict, manifest.files)
    return 0 if verdict["passed"] else 1


def _settings(place: Place, repository: str, team: str | None) -> tuple[Config, Team]:
    from aerodrome.config import parse
    from aerodrome.config.repo_url import RepoUrl

    here = Path(repository)
    url = RepoUrl.parse(str(here.absolute()) if here.is_dir() else repository).url
    if place.given or place.config.exists():
        config: Config = place.open().config
        if team is not None:
            return config, config.team(team).model_copy(update={"repo": url})
        same = [known for known in config.teams if known.repo == url] or _by_remote(here, config)
        if len(same) == 1 or len(config.teams) == 1:
            return config, (same or list(config.teams))[0].model_copy(update={"repo": url})
        raise UsageError(
            f"{place.config} has {len(config.teams)} teams, and {repository} is the repository of "
            + ("none of them" if not same else f"{len(same)} of them"),
            "Say whose settings apply: --team T.",
        )
    if team is not None:
        raise UsageError(f"there is no configuration {place.config} for team {team!r}", "Name it: -c FILE.")
    config = parse(json.dumps({"teams": [{"name": "check", "repo": url}]}))
    return config, config.teams[0]


def _by_remote(folder: Path, config: Config) -> list[Team]:
    """The teams whose repository `folder` was cloned from."""
    from aerodrome.config.repo_url import RepoUrl
    from aerodrome.local.repository import git

    if not folder.is_dir():
        return []
    try:
        remote = RepoUrl.parse(git(folder, "remote", "get-url", "origin"), folder).url
    except (AerodromeError, ValueError):
        return []
    return [team for team in config.teams if team.repo == remote]


def _is_bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def _written(config: Config, team: Team) -> str:
    alone = config.model_copy(update={"teams": (team,)})
    return json.dumps(alone.model_dump(mode="json", exclude_unset=True, by_alias=True))


def _judge(root: Path, team: Team, where: Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__DATABASE__")}
    home = where / "airflow"
    home.mkdir()
    environment |= {"AIRFLOW_HOME": str(home)}
    argv = [sys.executable, "-m", "aerodrome.airflow.check", str(root), "--team", team.name]
    argv += ["-c", str(where / "aerodrome.yaml")]
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    try:
        verdict: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise AerodromeError(
            f"the check itself failed: {said[-1] if said else f'exit code {done.returncode}'}",
            "Is Airflow installed here? pip install 'aerodrome[airflow]'. Else this is a defect of Aerodrome.",
        ) from None
    return verdict


def _tell(verdict: dict[str, Any], files: int) -> None:
    from aerodrome.cli.status import place_of

    for finding in verdict["findings"]:
        sign = "refused" if finding["severity"] == "error" else "warning"
        click.echo(f"{place_of(finding)}{sign}: {finding['message']}")
        if finding["remedy"]:
            click.echo(f"    {finding['remedy']}")
    dags = verdict["dag_ids"]
    click.echo(
        f"{'passed' if verdict['passed'] else 'refused'}: {len(dags)} DAGs in {verdict['files']} DAG files"
        f" ({files} files in all), {verdict['seconds']:.1f} s"
    )
