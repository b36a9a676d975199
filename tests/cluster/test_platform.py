"""The platform on real pods: applied, pushed to, run, changed, broken, taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from platform_kit import Platform, files

TEAMS = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module", params=["compact", "split"])
def platform(
    request: pytest.FixtureRequest,
    cluster: Any,
    s3: servers.S3,
    git_https: servers.GitOverHttps,
    git_ssh: servers.GitOverSsh,
    repositories: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Three teams, over HTTPS and SSH, in both topologies one after the other."""
    topology = request.param
    platform = Platform(
        cluster, tmp_path_factory.mktemp(topology), f"air-{topology}",
        s3=s3, https=git_https, ssh=git_ssh, repositories=repositories, topology=topology,
    )  # fmt: skip
    for team in TEAMS:
        platform.team(team, ssh=team == "gamma").commit(files(team))
    platform.write()
    yield platform
    platform.run("destroy", "--yes", "--delete-database")


def test_apply_names_what_is_missing_then_brings_it_up(platform: Platform) -> None:
    said = platform.run("apply", code=1)
    assert "s3" in said and "git" in said
    platform.secrets()
    platform.volume()
    said = platform.run("apply")
    assert "everything works" in said
    print(said)
    assert "nothing to change" in platform.run("apply")


def test_each_team_runs_its_own_commit_in_its_own_namespace(platform: Platform) -> None:
    for team in TEAMS:
        commit = platform.teams[team].commit(files(team) | {"notes": "a change"})
        platform.live(team, f"{team}_main", commit)
        run_id = platform.succeeds(f"{team}_main")
        assert platform.api.result(f"{team}_main", run_id, "say") == team
        log = platform.api.log(f"{team}_main", run_id, "say")
        assert f"this is team {team}" in log
        run = platform.api.run(f"{team}_main", run_id)
        assert run["bundle_version"] == commit


def test_status_shows_teams_and_pods(platform: Platform) -> None:
    said = platform.run("status")
    for team in TEAMS:
        assert team in said
