"""The command of a worker's container, beside Airflow's own, which it stands for."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

AIRFLOWS = "airflow.sdk.execution_time.execute_workload"
DAG = """
import os
from airflow.sdk import dag, task

@dag
def d():
    @task
    def t():
        for number in (os.getpid(), os.getppid()):
            with open(f"/proc/{number}/cmdline") as file:
                print("COMMAND", file.read())
        print("RESULT")
    @task
    def wrong():
        raise ValueError("WRONG")
    @task.bash
    def quoted():
        import subprocess
        return "echo QUOTED"
    t(), wrong(), quoted()
d()
"""
SNAPSHOT = "b1" * 20


@pytest.fixture(scope="module", autouse=True)
def published(machine: Any) -> None:
    machine.publish("payments", SNAPSHOT, {"dags/d.py": DAG})


def run(machine: Any, api: str, task: str, *command: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of `command` and the lines of the task's log."""
    path = f"dag_id=d/run_id=r/task_id={task}/{uuid.uuid4()}/attempt=1.log"
    ti = {
        **{"id": str(uuid.uuid4()), "dag_version_id": str(uuid.uuid4()), "dag_id": "d", "run_id": "r", "task_id": task},
        **{"try_number": 1, "map_index": -1, "pool_slots": 1, "queue": "default", "priority_weight": 1},
    }
    workload = {
        **{"type": "ExecuteTask", "token": "a-secret-token", "ti": ti, "dag_rel_path": "d.py", "log_path": path},
        "bundle_info": {"name": "payments", "version": SNAPSHOT},
    }
    done = start(machine, api, *command, "--json-string", json.dumps(workload))
    assert not done.stderr
    return done.returncode, [json.loads(line) for line in (machine.logs / path).read_text().splitlines()]


def start(machine: Any, api: str, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**machine.environment, "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": api}
    return subprocess.run([sys.executable, "-m", *command], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("task", ["t", "wrong", "quoted"])
def test_a_task_runs_and_is_logged_as_by_airflow(machine: Any, api: str, task: str) -> None:
    code, ours = run(machine, api, task, "aerodrome.airflow.worker", "python", "-m", AIRFLOWS)
    airflows_code, airflows = run(machine, api, task, AIRFLOWS)
    assert code == airflows_code == 0  # how the task ended is reported to the API

    def events(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
        own = ("COMMAND", "Running command")  # processes and a folder of their own
        return [(line["level"], line["event"]) for line in lines if not line["event"].startswith(own)]

    assert events(ours) == events(airflows)
    said = " ".join(line["event"] for line in ours)
    assert {"t": "RESULT", "wrong": "Task failed with exception", "quoted": "QUOTED"}[task] in said


def test_the_token_is_in_no_list_of_processes(machine: Any, api: str) -> None:
    _, lines = run(machine, api, "t", "aerodrome.airflow.worker", "python", "-m", AIRFLOWS)
    commands = [line["event"] for line in lines if line["event"].startswith("COMMAND")]
    assert len(commands) == 2
    assert "a-secret-token" not in "".join(commands)


def test_what_is_no_task_is_left_to_airflow(machine: Any, api: str, tmp_path: Path) -> None:
    for bad in ("no json", "[]", '{"type": "Juggle"}'):
        done = start(machine, api, "aerodrome.airflow.worker", "python", "-m", AIRFLOWS, "--json-string", bad)
        assert done.returncode == 1, bad
        assert "Failed to parse input JSON string" in done.stdout + done.stderr, bad
