"""What a configuration must be to run on Kubernetes, beyond being right. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aerodrome.config import Config
from aerodrome.errors import UsageError
from aerodrome.kubernetes.objects import settings


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what to do about it: one line each."""

    what: str
    remedy: str


def problems(config: Config) -> list[Problem]:
    """Everything in `config` that can not work on Kubernetes."""
    return [*_store(config), *_repositories(config), *_places(config), *_quotas(config)]


def exposed(config: Config) -> Problem | None:
    """An Ingress in front of Airflow's simple auth manager, which is made for trying Airflow out."""
    ingress = config.kubernetes.ingress
    if ingress is None or config.auth.manager is not None:
        return None
    return Problem(
        f"kubernetes.ingress: {ingress.host} would lead to generated passwords (auth.simple)",
        "Set auth.manager to a real one, or give --accept-generated-passwords.",
    )


def refuse(config: Config) -> None:
    """Nothing, when `config` can run on Kubernetes.

    Raises:
        UsageError: it can not; every reason.
    """
    found = problems(config)
    if found:
        lines = [f"{problem.what} ({problem.remedy})" for problem in found]
        plural = "this" if len(lines) == 1 else f"these {len(lines)}"
        raise UsageError("\n".join(lines), f"Mend {plural} in the configuration and run the command again.")


def _store(config: Config) -> Iterator[Problem]:
    if config.store is None or config.store.startswith("file:"):
        yield Problem(
            "store: pods share no folder" if config.store else "store: Kubernetes needs one",
            "name a bucket: store: s3://bucket/prefix, or gs:// or az://",
        )


def _repositories(config: Config) -> Iterator[Problem]:
    for team in config.teams:
        if team.repo_url.kind == "file":
            yield Problem(
                f"teams.{team.name}.repo: {team.repo} is a path of this machine",
                "name a repository by https:// or ssh://",
            )


def _places(config: Config) -> Iterator[Problem]:
    for where, place in config.places():
        if place.secret is None:
            yield Problem(
                f"{where}: the {place.describe()} is not in the cluster",
                "name a Kubernetes Secret: {secret: NAME, key: KEY}",
            )


def _quotas(config: Config) -> Iterator[Problem]:
    for team in config.teams:
        fits = settings.pods_in_quota(team)
        if fits is not None and fits - team.worker.standby < 1:
            yield Problem(
                f"teams.{team.name}.quota: no pod of a task fits into it",
                "raise quota, or lower worker.resources or worker.standby",
            )
