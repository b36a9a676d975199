"""Row ``cluster``: tasks in pods, on the cluster of the tests: Aerodrome beside Airflow's own way, in turns.

Stock is Airflow's KubernetesExecutor and GitDagBundle with every setting at its default, from the same image with git
added, its four components in one pod as Aerodrome's ``compact`` topology has them. It keeps no logs of tasks (that
would take another provider); Aerodrome uploads each to S3.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aerodrome.errors import AerodromeError
from aerodrome.local.airflow_api import FINAL
from bench.place import Place, wait
from bench.result import Result, median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cluster"))

import binaries
import images
import machine
import platform_kit
import servers
import stock_airflow

_SINGLE, _ROUNDS, _MANY = 8, 3, 40
_IDLE = 30.0
"""Seconds over which both control planes are watched while nothing happens."""

_DAGS = """\
import os
import time
from airflow.sdk import dag, task

@dag(schedule=None, max_active_tasks=64)
def {name}_one():
    @task
    def begin():
        now = time.time()
        ticks = int(open("/proc/1/stat").read().rpartition(")")[2].split()[19])
        age = float(open("/proc/uptime").read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
        return [now - age, now]
    begin()

@dag(schedule=None, max_active_tasks=64)
def {name}_many():
    @task
    def nothing(number):
        return time.time()
    nothing.expand(number=list(range({many})))

{name}_one()
{name}_many()
"""


def run(place: Place) -> Iterator[Result]:
    """Single tasks one after the other, then forty at once, ours and stock in turns."""
    folder = place.folder("cluster")
    binaries.require()
    programs = binaries.built()
    place.say("building images")
    archives = [*images.archives(), images.with_git(stock_airflow.IMAGE)]
    cluster = machine.Cluster(programs, binaries.cache() / "cluster")
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.down)
        place.say("starting a cluster")
        cluster.up()
        for archive in archives:
            cluster.load(archive)
        s3 = servers.S3(programs / "versitygw", folder / "s3", cluster.bridge)
        stack.callback(s3.close)
        https = servers.GitOverHttps(folder / "repositories", folder / "https", cluster.bridge)
        stack.callback(https.close)
        ssh = servers.GitOverSsh(folder / "ssh", cluster.bridge)
        stack.callback(ssh.close)
        place.say("starting both platforms")
        ours = _Ours(cluster, folder, s3, https, ssh)
        stock = _Stock(cluster, folder, https)
        sides = {"ours": ours, "stock": stock}
        for side in sides.values():
            wait("the DAGs of both", lambda side=side: side.ready(), 240)  # type: ignore[misc]
        yield from _idle(place, cluster, sides)
        yield from _singles(place, cluster, sides)
        yield from _many(place, cluster, sides)


def _idle(place: Place, cluster: Any, sides: dict[str, Any]) -> Iterator[Result]:
    place.say("watching both while nothing happens")
    time.sleep(20)  # what was started has settled
    before = {name: _usage(cluster, side.namespace) for name, side in sides.items()}
    time.sleep(_IDLE)
    cores: dict[str, dict[str, float]] = {}
    memory: dict[str, dict[str, float]] = {}
    for name, side in sides.items():
        found = _usage(cluster, side.namespace)
        cores[name] = {key: (used.cpu - before[name][key].cpu) / (used.at - before[name][key].at)
                       for key, used in found.items()}  # fmt: skip
        memory[name] = {key: used.memory / 1e6 for key, used in found.items()}
    note = "one team; database and sync included"
    for what, figures, unit, digits in (("CPU", cores, "cores", 3), ("memory", memory, "MB", 0)):
        total = {name: round(sum(figures[name].values()), digits) for name in sides}
        yield Result(f"idle control plane, {what}", total["ours"], total["stock"], unit, "", None, note)
        for key in figures["ours"]:
            both = [round(figures[name][key], digits) if key in figures[name] else None for name in ("ours", "stock")]
            yield Result(f"... {key}", *both, unit, "", None)


def _singles(place: Place, cluster: Any, sides: dict[str, Any]) -> Iterator[Result]:
    # where the time of one goes: the marks between the parts, in their order
    parts = ("pod created", "pod on a node", "process started", "task started", "first line")
    samples: dict[str, dict[str, list[float]]] = {name: {part: [] for part in (*parts, "all")} for name in sides}
    with _Watch(cluster) as watch:
        for number in range(_SINGLE):
            for name, side in sides.items():
                place.say(f"single tasks: {number + 1} of {_SINGLE}")
                dag_id = f"{name}_one"
                run_id = side.api.trigger(dag_id)
                _succeeded(side, dag_id, run_id)
                (task,) = side.api.tasks(dag_id, run_id)
                process, first = side.api.result(dag_id, run_id, "begin")
                created, placed = watch.seen(run_id)
                marks = [_seconds(task["queued_when"]), created, placed, process, _seconds(task["start_date"]), first]
                for part, begun, ended in zip(parts, marks, marks[1:], strict=False):
                    samples[name][part].append(round(ended - begun, 3))
                samples[name]["all"].append(round(first - marks[0], 3))
    note = f"median of {_SINGLE}, one after the other"
    ours, stock = (median(samples[name]["all"]) for name in ("ours", "stock"))
    yield Result(
        "a task: queued to its first line", ours, stock, "s", "0.8x", ours <= 0.8 * stock, note,
        {name: samples[name]["all"] for name in sides},
    )  # fmt: skip
    for part in parts:
        both = {name: samples[name][part] for name in sides}
        yield Result(f"... until: {part}", median(both["ours"]), median(both["stock"]), "s", "", None, note, both)


def _many(place: Place, cluster: Any, sides: dict[str, Any]) -> Iterator[Result]:
    rates: dict[str, list[float]] = {name: [] for name in sides}
    costs: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(_ROUNDS):
        for name, side in sides.items():
            place.say(f"{_MANY} tasks at once: {number + 1} of {_ROUNDS}")
            idle = _cpu_between(5)
            before, began = _cpu(), time.monotonic()
            dag_id = f"{name}_many"
            run_id = side.api.trigger(dag_id)
            _succeeded(side, dag_id, run_id)
            wait("pods are gone", lambda side=side: not side.pods(), 120, pause=0.5)  # type: ignore[misc]
            spent = _cpu() - before - idle * (time.monotonic() - began)
            tasks = side.api.tasks(dag_id, run_id)
            begun = min(_seconds(task["queued_when"]) for task in tasks)
            ended = max(_seconds(task["end_date"]) for task in tasks)
            rates[name].append(round(_MANY / (ended - begun), 3))
            costs[name].append(round(spent / _MANY, 3))
    ours, stock = median(rates["ours"]), median(rates["stock"])
    yield Result(
        f"{_MANY} trivial tasks at once", ours, stock, "tasks/s", "1.25x", ours >= 1.25 * stock,
        f"median of {_ROUNDS}, from the first queued to the last end; none failed", rates,
    )  # fmt: skip
    ours, stock = median(costs["ours"]), median(costs["stock"])
    yield Result(
        "CPU of one of them, all of the cluster's", ours, stock, "CPU s", "0.8x", ours <= 0.8 * stock,
        f"of the whole machine, less what it uses idle; median of {_ROUNDS}", costs,
    )  # fmt: skip


def _succeeded(side: Any, dag_id: str, run_id: str) -> None:
    """Wait for the end of a run; seldom enough that the question itself costs nothing that counts."""
    states = []

    def ended() -> bool:
        with contextlib.suppress(AerodromeError):  # an API server in a crowd may take longer than a request waits
            states.append(side.api.run(dag_id, run_id)["state"])
        return bool(states) and states[-1] in FINAL

    wait(f"the end of {dag_id}", ended, 600, pause=1)
    if states[-1] != "success":
        raise RuntimeError(f"{dag_id} {run_id}: {states[-1]}")


class _Watch:
    """When pods are created and get a node, as the cluster's API tells everybody who watches."""

    def __init__(self, cluster: Any) -> None:
        template = "{.metadata.annotations.run_id}|{.spec.nodeName}{'\\n'}"
        self._process = subprocess.Popen(
            [str(cluster.binaries / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "get", "pods", "-A", "--watch",
             "-l", "kubernetes_executor=True", "-o", f"jsonpath={template}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._created: dict[str, float] = {}
        self._placed: dict[str, float] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            run_id, _, node = line.rstrip("\n").partition("|")
            self._created.setdefault(run_id, time.time())
            if node:
                self._placed.setdefault(run_id, time.time())

    def seen(self, run_id: str) -> tuple[float, float]:
        """When the pod of a run was created, and when it got its node; seconds since the epoch."""
        return self._created[run_id], self._placed[run_id]

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
        self._thread.join()


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _cpu() -> float:
    """CPU seconds that this machine has spent since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _cpu_between(seconds: float) -> float:
    """Cores in use now."""
    before, began = _cpu(), time.monotonic()
    time.sleep(seconds)
    return (_cpu() - before) / (time.monotonic() - began)


@dataclass(frozen=True)
class _Use:
    """CPU seconds so far and bytes in use of a container, and when that was."""

    cpu: float
    memory: float
    at: float


def _usage(cluster: Any, namespace: str) -> dict[str, _Use]:
    """What each container of a namespace uses, by the kubelets' word."""
    used = {}
    for node in cluster.nodes:
        found = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
        for pod in found["pods"]:
            if pod["podRef"]["namespace"] == namespace:
                for container in pod.get("containers", []):
                    cpu = container.get("cpu", {}).get("usageCoreNanoSeconds", 0) / 1e9
                    memory = container.get("memory", {}).get("workingSetBytes", 0)
                    # a team's components are the same for each team
                    name = container["name"].removesuffix("-ours")
                    used[name] = _Use(cpu, memory, time.monotonic())
    return used


class _Ours:
    """Aerodrome, compact, with one team."""

    namespace = "air-bench"

    def __init__(self, cluster: Any, folder: Path, s3: Any, https: Any, ssh: Any) -> None:
        repositories = folder / "repositories"
        repositories.mkdir(exist_ok=True)
        self._platform = platform_kit.Platform(
            cluster, folder, self.namespace,
            s3=s3, https=https, ssh=ssh, repositories=repositories, topology="compact",
        )  # fmt: skip
        repository = self._platform.team("ours", quota={"pods": 60})
        repository.commit({"dags/bench.py": _DAGS.format(name="ours", many=_MANY)})
        # Airflow's own pace as stock has it, and the resources that the components have by default
        kubernetes = {"topology": "compact", "image": images.PLATFORM}
        self._platform.write(airflow={}, kubernetes=kubernetes)
        self._platform.up()
        self.api = self._platform.api

    def ready(self) -> bool:
        """Whether both DAGs are there."""
        return self.api.dag("ours_many") is not None

    def pods(self) -> list[Any]:
        """Pods of tasks."""
        return self._platform.pods("ours")


class _Stock(stock_airflow.Stock):
    """Airflow as its documentation puts it on Kubernetes."""

    def __init__(self, cluster: Any, folder: Path, https: Any) -> None:
        repository = servers.Repository(folder / "repositories" / "stock.git")
        repository.commit({"dags/bench.py": _DAGS.format(name="stock", many=_MANY)})
        super().__init__(cluster, f"{https.url_with_token}/stock.git", "repository")

    def ready(self) -> bool:
        """Whether both DAGs are there."""
        return self.api.dag("stock_many") is not None
