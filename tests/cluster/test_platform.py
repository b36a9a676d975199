"""The platform on real pods: applied, pushed to, run, changed, broken, taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import servers
from platform_kit import Platform, files

TEAMS = ("alpha", "beta", "gamma")
LONG = """\
from airflow.sdk import dag, task

@dag(schedule=None)
def alpha_long():
    @task
    def hold():
        import time
        print("holds")
        time.sleep(100)
    hold()

alpha_long()
"""


@pytest.fixture(scope="module", params=["compact", "split"])
def platform(
    request: pytest.FixtureRequest,
    cluster: Any,
    s3: servers.S3,
    git_https: servers.GitOverHttps,
    git_ssh: servers.GitOverSsh,
    repositories: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Platform:
    """Three teams, over HTTPS and SSH, in both topologies one after the other."""
    topology = request.param
    platform = Platform(
        cluster, tmp_path_factory.mktemp(topology), f"air-{topology}",
        s3=s3, https=git_https, ssh=git_ssh, repositories=repositories, topology=topology,
    )  # fmt: skip
    for team in TEAMS:
        platform.team(team, ssh=team == "gamma").commit(files(team))
    platform.write()
    return platform


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


def test_a_refused_commit_changes_nothing(platform: Platform) -> None:
    before = platform.api.dag("alpha_main")
    broken = platform.teams["alpha"].commit(
        files("alpha") | {"dags/other.py": "from airflow.sdk import dag\nimport no_such_module\n"}
    )

    def refused() -> Any:
        teams = json.loads(platform.run("status", "--json"))["teams"]
        alpha = next(team for team in teams if team["name"] == "alpha")
        return alpha if alpha["head"]["commit"] == broken and alpha["verdict"] else None

    alpha = platform.until(refused, "the verdict")
    assert not alpha["verdict"]["passed"]
    (finding,) = alpha["verdict"]["findings"]
    assert (finding["file"], finding["line"]) == ("dags/other.py", 2)
    assert "no_such_module" in finding["message"]
    assert before is not None
    assert alpha["current"]["snapshot"] == before["bundle_version"]
    platform.succeeds("alpha_main")
    mended = platform.teams["alpha"].commit(files("alpha") | {"dags/long.py": LONG})
    platform.live("alpha", "alpha_long", mended)


def test_status_shows_teams_and_pods(platform: Platform) -> None:
    said = platform.run("status")
    for team in TEAMS:
        assert team in said


def test_teams_come_and_go_while_tasks_of_others_run(platform: Platform) -> None:
    run_id = platform.api.trigger("alpha_long")
    (pod,) = platform.until(lambda: platform.pods("alpha"), "its pod")
    platform.says("alpha", pod["metadata"]["name"], "holds")

    platform.team("delta").commit(files("delta"))
    platform.write()
    said = platform.run("apply", "--dry-run")
    assert f"Namespace {platform.name}-delta" in said
    said = platform.run("apply", code=1)
    assert f"{platform.name}-delta/s3 does not exist" in said
    platform.secrets()
    platform.run("apply")
    platform.until(lambda: platform.api.dag("delta_main"), "the new team is live")
    platform.succeeds("delta_main")

    del platform.settings["delta"]
    platform.write()
    assert "no longer in the file: delta" in platform.run("apply")
    platform.until(lambda: "delta_main" not in platform.shown(), "its DAG has left the UI")
    platform.run("apply", "--prune", "--yes")
    assert f"{platform.name}-delta" not in platform.cluster.kubectl("get", "namespaces")

    run = platform.api.wait("alpha_long", run_id, timeout=300)
    (task,) = platform.api.tasks("alpha_long", run_id)
    assert (run["state"], task["try_number"]) == ("success", 1), platform.failures("alpha_long", run_id)


def test_destroy_leaves_nothing(platform: Platform) -> None:
    platform.run("destroy", "--yes", "--delete-database")
    assert platform.name not in platform.cluster.kubectl("get", "namespaces,priorityclasses")
