"""What holds for all objects, whatever the configuration."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from aerodrome.config import Config, parse
from aerodrome.kubernetes.objects import objects
from aerodrome.kubernetes.objects.plan import Plan
from aerodrome.kubernetes.objects.worker import template

Object = dict[str, Any]

CLUSTER_WIDE = {"Namespace", "PriorityClass"}


@pytest.fixture(params=["small", "small split", "full", "full compact"])
def config(request: pytest.FixtureRequest, small: Config, full: Config) -> Config:
    name, _, topology = request.param.partition(" ")
    found = small if name == "small" else full
    if topology:
        kubernetes = found.kubernetes.model_copy(update={"topology": topology})
        found = found.model_copy(update={"kubernetes": kubernetes})
    return found


def pods(config: Config) -> Iterator[tuple[str, str, Object]]:
    """Name, namespace and spec of every pod that comes to be, those of tasks included."""
    for entry in objects(config):
        if "template" in entry.get("spec", {}):
            yield entry["metadata"]["name"], entry["metadata"]["namespace"], entry["spec"]["template"]["spec"]
    for team in config.teams:
        yield f"worker of {team.name}", team.namespace, template(Plan(config), team)["spec"]


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def named(config: Config, kind: str, name: str) -> Object:
    (found,) = [item for item in objects(config) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def test_each_object_is_there_once(config: Config) -> None:
    ids = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects(config)]
    assert len(ids) == len(set(ids))


def test_the_same_configuration_gives_the_same_bytes(config: Config) -> None:
    again = parse(json.dumps(config.model_dump(mode="json", exclude_unset=True, by_alias=True)))
    assert json.dumps(objects(config)) == json.dumps(objects(again))


def test_objects_share_no_parts_that_a_caller_could_change(config: Config) -> None:
    before = copy.deepcopy(objects(config))
    for item in objects(config):
        item["metadata"]["labels"]["mine"] = "x"
    assert objects(config) == before


def test_every_object_says_whose_it_is(config: Config) -> None:
    namespaces = {config.name, *(team.namespace for team in config.teams)}
    for item in objects(config):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "aerodrome"
        assert labels["app.kubernetes.io/instance"] == config.name
        if item["kind"] in CLUSTER_WIDE:
            assert "namespace" not in item["metadata"]
        else:
            assert item["metadata"]["namespace"] in namespaces


def test_names_are_names(config: Config) -> None:
    for item in objects(config):
        assert len(item["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())


def test_names_of_the_longest_team_are_names() -> None:
    long = "t" + "-x" * 19 + "y"
    config = parse(f"name: {'n' * 20}\nstore: s3://b\nteams: [{{name: {long}, repo: https://a.example/b.git}}]")
    assert len(long) == 40
    test_names_are_names(config)
    for _, _, pod in pods(config):
        for part in [*containers(pod), *pod.get("volumes", [])]:
            assert len(part["name"]) <= 63


def test_every_pod_is_restricted(config: Config) -> None:
    """Pod Security "restricted": https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for name, _, pod in pods(config):
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod), name
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert not any("hostPort" in port for port in container.get("ports", []))
        for volume in pod.get("volumes", []):
            assert (set(volume) - {"name"}) <= allowed


def test_every_namespace_enforces_it(config: Config) -> None:
    found = [item for item in objects(config) if item["kind"] == "Namespace"]
    assert {item["metadata"]["name"] for item in found} == {config.name, *(team.namespace for team in config.teams)}
    for item in found:
        assert item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_mounts_and_volumes_fit(config: Config) -> None:
    for name, _, pod in pods(config):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        if any(item["metadata"]["name"] == name and item["kind"] == "StatefulSet" for item in objects(config)):
            volumes.add("data")
        mounted = [mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])]
        assert set(mounted) == volumes, name
        for container in containers(pod):
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(paths) == len(set(paths))
            variables = [variable["name"] for variable in container.get("env", [])]
            assert len(variables) == len(set(variables)), (name, container["name"])


def test_every_container_has_resources_and_no_pod_a_token_by_itself(config: Config) -> None:
    for _, _, pod in pods(config):
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
    for item in objects(config):
        if item["kind"] == "ServiceAccount":
            assert item["automountServiceAccountToken"] is False


def test_accounts_and_configuration_that_pods_name_are_there(config: Config) -> None:
    there = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects(config)}
    for name, namespace, pod in pods(config):
        assert ("ServiceAccount", namespace, pod["serviceAccountName"]) in there, name
        assert ("PriorityClass", None, pod["priorityClassName"]) in there
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", namespace, volume["configMap"]["name"]) in there


def test_nothing_secret_in_a_config_map(config: Config) -> None:
    text = json.dumps([item for item in objects(config) if item["kind"] == "ConfigMap"]).lower()
    for word in ("fernet_key", "jwt_private", "sql_alchemy_conn", "begin private"):
        assert word not in text


def test_no_generated_secret_is_rendered(config: Config) -> None:
    for item in objects(config):
        if item["kind"] == "Secret":
            assert item["type"] == "kubernetes.io/service-account-token"
            assert "data" not in item and "stringData" not in item
            assert item["metadata"]["namespace"] == config.name
