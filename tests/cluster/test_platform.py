"""The platform on real pods: applied, pushed to, run, changed, broken, taken away."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import images
import pytest
from platform_kit import Platform, files

TEAMS = ("alpha", "beta", "gamma")
# a few at a time, so that pods begin and end at each moment of an upgrade
WAVES = """\
from airflow.sdk import dag, task

@dag(schedule=None)
def beta_waves():
    @task(max_active_tis_per_dagrun=3)
    def hold(seconds):
        import time
        time.sleep(seconds)
        return seconds
    hold.expand(seconds=[90, 2, 3, 4, 5, 6, 7, 8, 2, 3, 4, 5])

beta_waves()
"""
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
def platform(request: pytest.FixtureRequest, platform_of: Callable[[str, str], Platform]) -> Platform:
    """Three teams, over HTTPS and SSH, in both topologies one after the other."""
    topology = request.param
    platform = platform_of(f"air-{topology}", topology)
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
    platform.says("alpha", platform.pod_of("alpha", "alpha_long"), "holds")

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


def test_a_new_image_is_applied_while_tasks_run(platform: Platform) -> None:
    commit = platform.teams["beta"].commit(files("beta") | {"dags/waves.py": WAVES})
    platform.live("beta", "beta_waves", commit)
    platform.image = images.another(platform.cluster)
    platform.write()
    assert platform.image in platform.run("apply", "--dry-run")
    run_id = platform.api.trigger("beta_waves")
    platform.until(lambda: len(platform.pods("beta")) >= 2, "tasks run")
    platform.run("apply")
    platform.until(platform.answers, "the new API answers")
    run = platform.api.wait("beta_waves", run_id, timeout=240)
    tasks = platform.api.tasks("beta_waves", run_id)
    assert run["state"] == "success", platform.failures("beta_waves", run_id)
    assert [task["try_number"] for task in tasks] == [1] * 12
    used = {container["image"] for pod in platform.get("pods")["items"] for container in pod["spec"]["containers"]}
    assert used == {platform.image, f"{platform.image}-sync"}
    platform.succeeds("alpha_main")
    assert "nothing to change" in platform.run("apply")


def test_destroy_leaves_nothing(platform: Platform) -> None:
    platform.run("destroy", "--yes", "--delete-database")
    assert platform.name not in platform.cluster.kubectl("get", "namespaces,priorityclasses")
