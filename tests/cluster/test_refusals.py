"""What is wrong is named in one line, with what to do; what runs goes on running."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import images
import pytest
import servers
import yaml
from platform_kit import Platform, files

NAME = "air-bad"


@pytest.fixture(scope="module")
def platform(platform_of: Callable[[str, str], Platform]) -> Platform:
    """One team, of which nothing is applied yet."""
    platform = platform_of(NAME, "compact")
    platform.team("alpha").commit(files("alpha"))
    platform.write()
    return platform


def test_a_namespace_of_somebody_else(platform: Platform) -> None:
    platform.cluster.kubectl("create", "namespace", f"{NAME}-alpha")
    try:
        said = platform.run("apply", code=1)
        assert f"the namespace {NAME}-alpha" in said
        assert NAME not in platform.cluster.kubectl("get", "namespaces", "-o", "name").split()
    finally:
        platform.cluster.kubectl("delete", "namespace", f"{NAME}-alpha")


def test_a_secret_without_the_key(platform: Platform) -> None:
    platform.run("apply", code=1)
    platform.secrets()
    platform.volume()
    platform.cluster.kubectl("-n", NAME, "delete", "secret", "git")
    platform.secret(NAME, "git", {"another": "x"})
    said = platform.run("apply", code=1)
    assert f"the Secret {NAME}/git has no key ca, token (teams.alpha.credentials.token)" in said
    platform.secrets()


def test_a_user_without_rights(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = platform.cluster
    token = cluster.kubectl("-n", "default", "create", "token", "default").strip()  # an account without any right
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "u", "user": {"token": token}}]
    weak = tmp_path / "kubeconfig"
    weak.write_text(json.dumps(config))
    monkeypatch.setattr(cluster, "kubeconfig", weak)
    said = platform.run("apply", code=1)
    assert "you may not get, list, create, patch, delete namespaces; " in said
    assert f"in the namespace {NAME}-alpha" in said
    assert "Ask the cluster's owner" in said


def test_a_store_that_refuses_and_a_repository_that_is_not_there(platform: Platform) -> None:
    platform.secret(f"{NAME}-alpha", "s3", {"id": platform.keys[NAME]["id"], "secret": "wrong"})
    repository = platform.settings["alpha"]["repo"]
    platform.settings["alpha"]["repo"] = repository.replace("air-bad", "no-such")
    platform.write()
    try:
        said = platform.run("doctor", code=1)
        assert "store for alpha" in said
        assert "repository of alpha" in said
        assert "teams.alpha.repo" in said
        assert platform.keys[NAME]["secret"] not in said and servers.TOKEN not in said
    finally:
        platform.settings["alpha"]["repo"] = repository
        platform.write()
        platform.secrets()


@pytest.fixture(scope="module")
def running(platform: Platform) -> Platform:
    """It, up; the tests above have made its Secrets."""
    platform.up_again()
    platform.until(lambda: platform.api.dag("alpha_main"), "the DAG is live")
    return platform


@pytest.mark.parametrize("whose", ["the platform's", "the team's"])
def test_an_image_that_does_not_exist_leaves_what_runs(running: Platform, whose: str) -> None:
    wrong = "localhost/no-such-image:1"
    if whose == "the team's":
        running.settings["alpha"]["image"] = wrong
    else:
        running.image = wrong
    running.write()
    said = running.run("apply", "--timeout", "40", code=1)
    assert f"the image {wrong} can not be pulled" in said
    running.succeeds("alpha_main")  # not a single task notices

    running.settings["alpha"].pop("image", None)
    running.image = images.PLATFORM
    running.write()
    running.run("apply")
    running.succeeds("alpha_main")
    assert "nothing to change" in running.run("apply")


def test_dump_and_restore_into_another_installation(running: Platform) -> None:
    platform = running
    kubectl = platform.cluster.kubectl
    program = ("exec", "-i", f"{NAME}-database-0", "--", "python", "-m", "aerodrome.kubernetes.database_server")
    platform.api._call("POST", "/api/v2/variables", {"key": "city", "value": "only with the old key"})
    before = platform.api.runs()
    assert before
    dump = kubectl("-n", NAME, *program, "--dump")
    key = base64.b64decode(platform.get("secret", f"{NAME}-fernet")["data"]["key"]).decode()
    assert key not in dump and "only with the old key" not in dump

    platform.run("destroy", "--yes", "--delete-database")
    kubectl("create", "namespace", NAME)
    kubectl("label", "namespace", NAME, f"app.kubernetes.io/instance={NAME}")
    platform.secret(NAME, f"{NAME}-fernet", {"key": key})
    platform.up()
    assert platform.api.runs() == []
    kubectl("-n", NAME, "scale", "deployment", "--all", "--replicas=0")
    assert "ERROR" not in kubectl("-n", NAME, *program, "--restore", stdin=dump)
    platform.run("apply")

    assert [run["dag_run_id"] for run in platform.api.runs()] == [run["dag_run_id"] for run in before]
    variable = platform.api._call("GET", "/api/v2/variables/city")
    assert variable is not None and variable["value"] == "only with the old key"
    platform.succeeds("alpha_main")


def test_doctor_finds_nothing_where_all_is_well(running: Platform) -> None:
    assert "problem" not in running.run("doctor")
