"""What is wrong is named in one line, with what to do; what runs goes on running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import images
import pytest
import servers
import yaml
from platform_kit import Platform, files

NAME = "air-bad"


@pytest.fixture(scope="module")
def platform(
    cluster: Any,
    s3: servers.S3,
    git_https: servers.GitOverHttps,
    git_ssh: servers.GitOverSsh,
    repositories: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """One team; the namespaces are there, and nothing else."""
    platform = Platform(
        cluster, tmp_path_factory.mktemp("bad"), NAME,
        s3=s3, https=git_https, ssh=git_ssh, repositories=repositories, topology="compact",
    )  # fmt: skip
    platform.team("alpha").commit(files("alpha"))
    platform.write()
    platform.volume()
    yield platform
    platform.run("destroy", "--yes", "--delete-database")


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
    platform.secret(NAME, "git", {"another": "x"})
    platform.cluster.kubectl("-n", NAME, "delete", "secret", "git")
    platform.secret(NAME, "git", {"another": "x"})
    said = platform.run("apply", code=1)
    assert "has no key token" in said
    assert "has no key ca" in said
    platform.secrets()


def test_a_user_without_rights(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = platform.cluster
    cluster.kubectl("-n", "default", "create", "serviceaccount", "nobody")
    token = cluster.kubectl("-n", "default", "create", "token", "nobody").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "u", "user": {"token": token}}]
    weak = tmp_path / "kubeconfig"
    weak.write_text(json.dumps(config))
    monkeypatch.setattr(cluster, "kubeconfig", weak)
    said = platform.run("apply", code=1)
    assert "may not" in said
    assert "kubectl" in said


def test_a_store_that_refuses_and_a_repository_that_is_not_there(platform: Platform) -> None:
    platform.secret(f"{NAME}-alpha", "s3", {"id": servers.S3_KEY, "secret": "wrong"})
    repository = platform.settings["alpha"]["repo"]
    platform.settings["alpha"]["repo"] = repository.replace("air-bad", "no-such")
    platform.write()
    try:
        said = platform.run("doctor", code=1)
        assert "store for alpha" in said
        assert "repository of alpha" in said
        assert "teams.alpha.repo" in said
        assert servers.S3_SECRET not in said and servers.TOKEN not in said
    finally:
        platform.settings["alpha"]["repo"] = repository
        platform.write()
        platform.secrets()


def test_an_image_that_does_not_exist_leaves_what_runs(platform: Platform) -> None:
    platform.run("apply")
    platform.until(lambda: platform.api.dag("alpha_main"), "the DAG is live")
    text = platform.file.read_text()
    platform.file.write_text(text.replace(images.PLATFORM, "localhost/no-such-image:1"))
    said = platform.run("apply", "--timeout", "40", code=1)
    assert "localhost/no-such-image:1" in said
    platform.file.write_text(text)
    platform.succeeds("alpha_main")
    platform.run("apply")
    assert "nothing to change" in platform.run("apply")


def test_dump_and_restore(platform: Platform) -> None:
    program = ("exec", "-i", f"{NAME}-database-0", "--", "python", "-m", "aerodrome.kubernetes.database_server")
    dump = platform.cluster.kubectl("-n", NAME, *program, "--dump")
    before = platform.api.runs()
    assert before
    platform.cluster.kubectl("-n", NAME, "scale", "deployment", "--all", "--replicas=0")
    restored = platform.cluster.kubectl("-n", NAME, *program, "--restore", stdin=dump)
    assert "ERROR" not in restored
    platform.run("apply")
    assert [run["dag_run_id"] for run in platform.api.runs()] == [run["dag_run_id"] for run in before]
    platform.succeeds("alpha_main")


def test_doctor_finds_nothing_where_all_is_well(platform: Platform) -> None:
    assert "problem" not in platform.run("doctor")
