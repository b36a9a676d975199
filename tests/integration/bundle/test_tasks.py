"""Whole tasks, run by Airflow's own supervisor and task runner: what they import, how they fail, their logs."""

from __future__ import annotations

import json
from typing import Any

DAG = """
import shared, teamlib
from airflow.sdk import dag, task

at_parse = teamlib.WHICH

@dag
def d():
    @task
    def t():
        import shared, teamlib
        print("RESULT", at_parse, teamlib.WHICH, shared.WHICH)
    t()
d()
"""
OLD, NEW, OTHER, NONE = "a1" * 20, "a2" * 20, "a3" * 20, "a4" * 20


def files(which: str) -> dict[str, str]:
    return {"dags/d.py": DAG, "teamlib.py": f"WHICH = {which!r}", "dags/shared/__init__.py": f"WHICH = {which!r}"}


def events(machine: Any, path: str) -> list[dict[str, Any]]:
    answer = machine.call("read_log", path=path)
    assert answer["sources"] == [f"{machine.store_url}/logs/{path}"]
    (lines,) = answer["lines"]
    return [json.loads(line) for line in lines if line]


def test_each_task_imports_its_own_teams_modules_at_its_own_version(machine: Any, api: str) -> None:
    machine.publish("payments", OLD, files("payments, old"))
    machine.publish("payments", NEW, files("payments, new"))
    machine.publish("risk", OTHER, files("risk"))
    for team, version, which in (
        ("payments", NEW, "payments, new"),
        ("risk", OTHER, "risk"),
        ("payments", OLD, "payments, old"),
    ):
        path = f"dag_id=d/run_id=r/task_id=t/{version}/attempt=1.log"
        assert machine.call("task", api=api, bundle_name=team, version=version, log_path=path) == 0
        said = [event["event"] for event in events(machine, path)]
        assert f"RESULT {which} {which} {which}" in said


def test_one_worker_runs_tasks_one_after_the_other(machine: Any, api: str) -> None:
    machine.publish("payments", OLD, files("payments, old"))
    assert machine.call(
        "tasks", api=api, count=2, bundle_name="payments", version=OLD, log_path="dag_id=d/run_id=two/task_id=t"
    ) == [0, 0]


def test_a_missing_snapshot_is_one_line_in_the_log(machine: Any, api: str) -> None:
    path = "dag_id=d/run_id=missing/task_id=t/attempt=1.log"
    assert machine.call("task", api=api, bundle_name="payments", version=NONE, log_path=path) == 1
    failures = [event for event in events(machine, path) if event["level"] in ("error", "critical")]
    (failure,) = failures
    said = failure["event"]
    assert "team payments" in said and NONE[:9] in said and machine.store_url in said and "aerodrome sync" in said
    assert "\n" not in said
    assert "error_detail" not in failure and "exception" not in failure


def test_a_damaged_snapshot_is_one_line_in_the_log(machine: Any, api: str) -> None:
    damaged = "a5" * 20
    machine.publish("payments", damaged, files("damaged"))
    key = f"teams/payments/snapshots/{damaged}.tar.zst"
    machine.store.write(key, machine.store.read(key).data[:-1] + b"x")
    path = "dag_id=d/run_id=damaged/task_id=t/attempt=1.log"
    assert machine.call("task", api=api, bundle_name="payments", version=damaged, log_path=path) == 1
    (failure,) = [event for event in events(machine, path) if event["level"] in ("error", "critical")]
    assert "team payments" in failure["event"] and "is damaged" in failure["event"] and damaged[:9] in failure["event"]
    assert not (machine.bundles / "payments/versions" / damaged).exists()
