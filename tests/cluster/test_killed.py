"""What dies while forty tasks run: no task is lost, and no try is in two pods."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import machine
import pytest
from platform_kit import Platform, files

FORTY = """\
from airflow.sdk import dag, task

@dag(schedule=None, max_active_tasks=40)
def {team}_forty():
    @task
    def hold(number):
        import time
        time.sleep(30)
        return number
    hold.expand(number=list(range(20)))

{team}_forty()
"""

CUT = """\
from airflow.sdk import dag, task
from datetime import timedelta

@dag(schedule=None)
def alpha_cut():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def hold(**context):
        import time
        print("began try", context["ti"].try_number)
        if context["ti"].try_number == 1:
            time.sleep(600)
        return context["ti"].try_number
    hold()

alpha_cut()
"""


class Tries:
    """Every pod of a task that there ever is, by the try that it is for."""

    _KEYS = ("dag_id", "run_id", "task_id", "map_index", "try_number")

    def __init__(self, cluster: Any) -> None:
        fields = "".join(f"|{{.metadata.annotations.{key}}}" for key in self._KEYS)
        self._watch = subprocess.Popen(
            [str(cluster.binaries / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "get", "pods", "-A", "--watch",
             "-l", "kubernetes_executor=True", "-o", f'jsonpath={{.metadata.name}}{fields}{{"\\n"}}'],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self) -> dict[tuple[str, ...], set[str]]:
        """The pods of each try; the watch ends."""
        self._watch.terminate()
        output, _ = self._watch.communicate()
        found: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for line in output.splitlines():
            name, *key = line.split("|")
            found[tuple(key)].add(name)
        return found


@pytest.fixture(scope="module")
def platform(cluster: Any, platform_of: Callable[[str, str], Platform]) -> Platform:
    """Two teams; the control plane is on the first node, so that the second one can be cut off."""
    platform = platform_of("air-killed", "split")
    for team in ("alpha", "beta"):
        platform.team(team, quota={"pods": 40}).commit(files(team) | {"dags/forty.py": FORTY.format(team=team)})
    platform.write(airflow={"scheduler": {"task_instance_heartbeat_timeout": "40"}})
    cluster.kubectl("cordon", "node2")
    platform.up()
    cluster.kubectl("uncordon", "node2")
    return platform


@pytest.fixture(scope="module", autouse=True)
def _own_cluster(cluster: Any) -> None:
    """These tests reach into the nodes."""
    if not isinstance(cluster, machine.Cluster):
        pytest.skip("takes a cluster that the tests have started themselves")


def _kill(platform: Platform, component: str) -> None:
    """kill -9 of everything in the component's containers."""
    for pod in platform.get("pods", "", None, "-l", f"app.kubernetes.io/component={component}")["items"]:
        for status in pod["status"]["containerStatuses"]:
            container = status["containerID"].removeprefix("containerd://")
            machine.shell(*platform.cluster.ctr(pod["spec"]["nodeName"]), "tasks", "kill", "-s", "KILL", container)


def test_components_killed_while_forty_tasks_run(platform: Platform) -> None:
    dags = ["alpha_forty", "beta_forty"]
    for dag_id in dags:
        platform.until(lambda dag_id=dag_id: platform.api.dag(dag_id), f"{dag_id} is live")
    tries = Tries(platform.cluster)
    runs = {dag_id: platform.api.trigger(dag_id) for dag_id in dags}

    def states() -> list[Any]:
        return [task["state"] for dag_id in dags for task in platform.api.tasks(dag_id, runs[dag_id])]

    platform.until(lambda: states().count("running") >= 5, "tasks run", 120)
    for component in ("scheduler", "task-api", "sync", "processor", "api-server"):
        _kill(platform, component)
    platform.until(platform.answers, "the UI's API answers again", 180)
    try:
        for dag_id, run_id in runs.items():
            run = platform.api.wait(dag_id, run_id, timeout=420)
            tasks = platform.api.tasks(dag_id, run_id)
            assert run["state"] == "success", platform.failures(dag_id, run_id)
            assert len(tasks) == 20
    finally:
        pods = tries.end()
    assert len(pods) >= 40
    assert {key: names for key, names in pods.items() if len(names) > 1} == {}
    again = [key for key in pods if key[-1] != "1"]
    print(json.dumps({"pods": len(pods), "tried again": again}, indent=1))
    commit = platform.teams["alpha"].commit(files("alpha") | {"dags/cut.py": CUT})
    platform.live("alpha", "alpha_cut", commit)


def test_a_node_that_is_cut_off_costs_a_try(platform: Platform) -> None:
    node = "node2"  # the control plane is on the other one
    platform.cluster.kubectl("cordon", "node1")
    try:
        run_id = platform.api.trigger("alpha_cut")
        platform.says("alpha", platform.pod_of("alpha", "alpha_cut"), "began try 1")
    finally:
        platform.cluster.kubectl("uncordon", "node1")
    platform.cluster.cut(node)
    try:
        run = platform.api.wait("alpha_cut", run_id, timeout=300)
        assert run["state"] == "success"
        assert platform.api.result("alpha_cut", run_id, "hold") == 2
    finally:
        platform.cluster.mend(node)
    platform.until(lambda: not platform.pods("alpha"), "the pod of the first try is gone", 180)
