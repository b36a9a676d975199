"""What a task sees and may do in its pod, and how it ends when the pod does not end well."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import images
import pytest
from platform_kit import WORKER, Platform, files

from aerodrome.store import StoreForbidden

# as they are the needles would be found in this very process
LOOK = """\
import json
import os
import pathlib
from airflow.sdk import dag, task

def look():
    needles = [word[::-1].encode() for word in BACKWARDS]
    found = []
    processes = [folder for folder in pathlib.Path("/proc").iterdir() if folder.name.isdigit()]
    places = [folder / name for folder in processes for name in ("environ", "cmdline")]
    for top in ("/run", "/var/run", "/etc", "/var/lib", "/tmp", "/opt/aerodrome-build"):
        for folder, _, names in os.walk(top):
            places += [pathlib.Path(folder, name) for name in names]
    for place in places:
        try:
            text = place.read_bytes() if place.is_file() else b""
        except OSError:
            continue
        found += [(str(place), index) for index, needle in enumerate(needles) if needle in text]
    in_environment = "\\n".join(os.environ.values()).encode()
    found += [("os.environ", index) for index, needle in enumerate(needles) if needle in in_environment]
    writable = []
    for folder in ("/", "/etc", "/opt/aerodrome", "/usr"):
        try:
            pathlib.Path(folder, "mine").touch()
            writable.append(folder)
        except OSError:
            pass
    mounts = [line.split() for line in open("/proc/mounts")]
    capabilities = next(line for line in open("/proc/self/status") if line.startswith("CapEff"))
    return {
        "found": found,
        "environ": dict(os.environ),
        "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        "mounts": sorted({mount[1] for mount in mounts}),
        "teams": sorted({path.name for path in pathlib.Path("/var/lib/aerodrome-snapshots").glob("*")}),
        "writable": writable,
        "uid": os.getuid(),
        "capabilities": capabilities.split()[1],
        "in memory": [mount[2] for mount in mounts if mount[1] == "/var/lib/aerodrome-snapshots"],
    }

@dag(schedule=None, doc_md=json.dumps(look()))
def alpha_look():
    task(look)()

alpha_look()
"""

PODS = """\
import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import dag, task
from kubernetes.client import models as k8s

@dag(schedule=None)
def alpha_pods():
    for name, deferrable in (("waits", False), ("defers", True)):
        KubernetesPodOperator(
            task_id=name, image={image!r}, image_pull_policy="IfNotPresent", deferrable=deferrable, get_logs=True,
            cmds=["python", "-c", "import time; print('said by the pod of {{{{ task.task_id }}}}'); time.sleep(2)"],
            container_resources=k8s.V1ResourceRequirements(requests={{"cpu": "20m", "memory": "32Mi"}}),
            env_vars={{"MINE": "yes"}},
        )

alpha_pods()

@dag(schedule=None)
def alpha_override():
    @task(executor_config={{"pod_override": k8s.V1Pod(spec=k8s.V1PodSpec(
        containers=[k8s.V1Container(
            name="base",
            env=[k8s.V1EnvVar(name="EXTRA", value="of its own")],
            resources=k8s.V1ResourceRequirements(requests={{"cpu": "30m"}}, limits={{"memory": "900Mi"}}),
            volume_mounts=[k8s.V1VolumeMount(name="more", mount_path="/more")],
        )],
        volumes=[k8s.V1Volume(name="more", empty_dir=k8s.V1EmptyDirVolumeSource())],
    ))}})
    def own():
        import os, pathlib
        pathlib.Path("/more/file").touch()
        return os.environ["EXTRA"]
    own()

alpha_override()
"""

TROUBLE = """\
from airflow.sdk import dag, task
from kubernetes.client import models as k8s
from datetime import timedelta

@dag(schedule=None)
def beta_memory():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def fill():
        print("begins to fill")
        parts = []
        while True:
            parts.append(b"x" * (64 << 20))
    fill()

beta_memory()

@dag(schedule=None)
def beta_long():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def long(**context):
        import time
        print("began try", context["ti"].try_number)
        if context["ti"].try_number == 1:
            time.sleep(600)
        return "second"
    long()

beta_long()

@dag(schedule=None)
def beta_no_image():
    @task(executor_config={"pod_override": k8s.V1Pod(spec=k8s.V1PodSpec(
        containers=[k8s.V1Container(name="base", image="localhost/no-such-image:1")]))})
    def never():
        return 1
    never()

beta_no_image()
"""

MANY = """\
from airflow.sdk import dag, task

@dag(schedule=None)
def gamma_many():
    @task
    def hold(number):
        import time
        time.sleep(65)
        return number
    hold.expand(number=list(range(6)))

gamma_many()
"""


@pytest.fixture(scope="module")
def platform(platform_of: Callable[[str, str], Platform]) -> Platform:
    """Three teams; the quota of one is small."""
    platform = platform_of("air-tasks", "split")
    platform.team("alpha", gate={"dag_id_prefix": "alpha_"}, connections_from={"secret": "connections"})
    platform.own_secrets["alpha", "connections"] = {"AIRFLOW_VAR_CITY": "the city of alpha"}
    platform.team("beta", worker={**WORKER, "delete_pods": "on-success"})
    platform.team("gamma", worker={**WORKER, "delete_pods": "never"}, quota={"pods": 4})
    # a task that is queued for a minute is given up: none may be queued for that long because of a quota
    platform.write(airflow={"scheduler": {"task_queued_timeout": "60", "task_queued_timeout_check_interval": "5"}})
    platform.up()
    platform.teams["gamma"].commit(files("gamma") | {"dags/many.py": MANY})
    platform.teams["beta"].commit(files("beta") | {"dags/trouble.py": TROUBLE})
    return platform


def _live(platform: Platform, team: str, dag_id: str) -> None:
    platform.until(lambda: platform.api.dag(dag_id), f"{dag_id} is live")


@pytest.fixture(scope="module")
def many(platform: Platform) -> str:
    """A run that keeps the small team's quota full for more than two minutes; it begins before the other tests."""
    _live(platform, "gamma", "gamma_many")
    return platform.api.trigger("gamma_many")


@pytest.fixture(scope="module")
def needles(platform: Platform) -> list[str]:
    """The platform's secrets: of each Secret's values the longest word."""
    values = [
        base64.b64decode(value).decode(errors="replace")
        for secret in platform.get("secrets")["items"]
        if secret["metadata"]["name"] != "s3" and secret["type"] == "Opaque"
        for value in secret["data"].values()
    ]
    found = sorted({max(re.split(r"\s+", text), key=len) for text in values if len(text) >= 8})
    assert len(found) >= 8
    return found


@pytest.fixture(scope="module")
def looks(platform: Platform, many: str, needles: list[str]) -> dict[str, Any]:
    """What team code sees: in a task, and while its file is parsed."""
    look = f"BACKWARDS = {[needle[::-1] for needle in needles]!r}\n{LOOK}"
    platform.teams["alpha"].commit(
        files("alpha") | {"dags/look.py": look, "dags/pods.py": PODS.format(image=images.PLATFORM)}
    )
    _live(platform, "alpha", "alpha_look")
    run_id = platform.succeeds("alpha_look")
    details = platform.api._call("GET", "/api/v2/dags/alpha_look/details")
    assert details is not None
    seen = {"task": platform.api.result("alpha_look", run_id, "look"), "parse": json.loads(details["doc_md"])}
    print(json.dumps(seen, indent=1))
    return seen


@pytest.mark.parametrize("where", ["task", "parse"])
def test_team_code_finds_no_secret_but_its_own(looks: dict[str, Any], where: str) -> None:
    seen = looks[where]
    assert seen["found"] == []
    assert not seen["token"]
    assert seen["writable"] == []
    assert seen["uid"] == 50000
    assert int(seen["capabilities"], 16) == 0
    assert not {"beta", "gamma"} & set(seen["teams"])
    # the team's own Secret: for its tasks, and for its processor where the platform's namespace has a copy
    assert ("AIRFLOW_VAR_CITY" in seen["environ"]) is (where == "task")
    telling = {name: seen["environ"][name] for name in seen["environ"] if re.search("CONN|FERNET|JWT|SECRET_KEY", name)}
    assert set(telling.values()) <= {"airflow-db-not-allowed:///"}  # what Airflow itself puts there


@pytest.mark.usefixtures("looks")
def test_the_keys_of_a_team_open_its_own_part_of_the_store(platform: Platform) -> None:
    name = platform.name
    alpha, beta = (platform.store(f"{name}-{team}") for team in ("alpha", "beta"))
    whole = platform.store(name)
    for key in ("teams/beta/current.json", "teams/alpha/head.json"):
        assert whole.read(key) is not None
        with pytest.raises(StoreForbidden):
            alpha.read(key)
    mine = next(key for key in whole.list("logs/") if key.startswith("logs/dag_id=alpha_look"))
    assert alpha.read(mine) is not None
    for key in ("teams/alpha/current.json", "teams/alpha/snapshots/mine", "logs/dag_id=beta_long/mine"):
        with pytest.raises(StoreForbidden):
            alpha.write(key, b"mine")
    with pytest.raises(StoreForbidden):
        list(beta.list("teams/alpha/"))


def test_a_task_has_its_snapshot_in_memory(looks: dict[str, Any]) -> None:
    assert looks["task"]["in memory"] == ["tmpfs"]


def test_kubernetes_pod_operator_works_out_of_the_box(platform: Platform) -> None:
    run_id = platform.succeeds("alpha_pods")
    for name in ("waits", "defers"):
        assert f"said by the pod of {name}" in platform.api.log("alpha_pods", run_id, name)


def test_pod_override(platform: Platform) -> None:
    run_id = platform.succeeds("alpha_override")
    assert platform.api.result("alpha_override", run_id, "own") == "of its own"


def test_out_of_memory_counts_as_a_failed_try_and_keeps_its_log(platform: Platform) -> None:
    run_id = platform.api.trigger("beta_memory")
    assert platform.api.wait("beta_memory", run_id, timeout=120)["state"] == "failed"
    for number in (1, 2):
        assert "begins to fill" in platform.api.log("beta_memory", run_id, "fill", number)


def test_an_evicted_task_is_tried_again_and_its_log_kept(platform: Platform) -> None:
    run_id = platform.api.trigger("beta_long")
    name, namespace = platform.pod_of("beta", "beta_long"), f"{platform.name}-beta"
    platform.says("beta", name, "began try 1")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    platform.cluster.kubectl(
        "create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(eviction)
    )
    assert platform.api.wait("beta_long", run_id, timeout=120)["state"] == "success"
    assert platform.api.result("beta_long", run_id, "long") == "second"
    assert "began try 1" in platform.api.log("beta_long", run_id, "long", 1)
    assert "began try 2" in platform.api.log("beta_long", run_id, "long", 2)


def test_an_image_that_is_missing_fails_the_task_and_leaves_its_pod_to_look_at(platform: Platform) -> None:
    platform.until(lambda: not platform.pods("beta"), "the pods of tasks that ran are gone")
    run_id = platform.api.trigger("beta_no_image")
    assert platform.api.wait("beta_no_image", run_id, timeout=400)["state"] == "failed"
    left = [pod["status"]["containerStatuses"][0] for pod in platform.pods("beta")]  # delete_pods: on-success
    assert left
    assert all("waiting" in status["state"] for status in left)


def test_a_full_quota_fails_no_task(platform: Platform, many: str) -> None:
    run = platform.api.wait("gamma_many", many, timeout=400)
    tasks = platform.api.tasks("gamma_many", many)
    assert run["state"] == "success", tasks
    assert [task["try_number"] for task in tasks] == [1] * 6
    # delete_pods: never; what has ended does not count against the quota

    def phases() -> list[str]:
        return [pod["status"]["phase"] for pod in platform.pods("gamma")]

    platform.until(lambda: phases() == ["Succeeded"] * 6, "all its pods are left, and ended")


def test_a_pod_goes_with_its_task(platform: Platform) -> None:
    platform.succeeds("alpha_main")
    platform.until(lambda: not platform.pods("alpha"), "its pods are gone", 20)
