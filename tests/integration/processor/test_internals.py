"""What is relied on of Airflow: classes made to be subclassed, and not documented. A new Airflow fails here first."""

from __future__ import annotations

import inspect
import re

import airflow
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager
from airflow.dag_processing.processor import DagFileProcessorProcess
from airflow.jobs.triggerer_job_runner import TriggererJobRunner, TriggerRunner, TriggerRunnerSupervisor
from airflow.sdk.execution_time.supervisor import ActivitySubprocess, WatchedSubprocess

from aerodrome.airflow.manager import ProcessorManager
from aerodrome.airflow.parse import ParseProcess
from aerodrome.airflow.triggers import TeamTriggererJobRunner, TeamTriggerRunner, TeamTriggers


def test_this_is_the_airflow_that_it_was_written_for() -> None:
    assert airflow.__version__.startswith("3.3.")


def test_the_managers_loop_calls_what_is_overridden_in_this_order() -> None:
    loop = inspect.getsource(DagFileProcessorManager._run_parsing_loop)
    steps = re.findall(r"self\.(\w+)\(", loop.partition("while True:")[2])
    order = [
        *("heartbeat", "_kill_timed_out_processors", "_queue_requested_files_for_parsing", "_refresh_dag_bundles"),
        *("prepare_file_queue", "_start_new_processes", "_service_processor_sockets", "_collect_results"),
        *("fetch_callbacks", "_add_callback_to_queue", "_scan_stale_dags", "purge_inactive_dag_warnings"),
        "max_runs_reached",
    ]
    assert [step for step in steps if step in order] == order
    assert "self.handle_parsing_result(file, proc)" in inspect.getsource(DagFileProcessorManager._collect_results)


def test_every_overridden_method_is_there_to_be_overridden() -> None:
    ours = {
        "manager": (ProcessorManager, DagFileProcessorManager),
        "process": (ParseProcess, DagFileProcessorProcess),
        "triggers": (TeamTriggers, TriggerRunnerSupervisor),
        "runner": (TeamTriggerRunner, TriggerRunner),
        "job": (TeamTriggererJobRunner, TriggererJobRunner),
    }
    own = {
        *("for_team", "_enter", "_make_client", "_advance", "_begin", "_prepare", "_enqueue", "_finish", "_database"),
        *(
            "tracker",
            "enforce",
            "was_lost",
            "ending",
            "_bounded",
            "_follow",
            "_tell",
            "_start",
            "__enter__",
            "__exit__",
        ),
    }
    for mine, theirs in ours.values():
        methods = {name for name, value in vars(mine).items() if inspect.isfunction(value)} - own
        missing = {name for name in methods if not name.startswith("__") and not hasattr(theirs, name)}
        assert not missing, f"{theirs.__name__} has no {missing}"


def test_a_file_is_told_by_what_it_is_told_by() -> None:
    fields = set(inspect.signature(DagFileInfo).parameters)
    assert {"rel_path", "bundle_name", "bundle_path", "bundle_version"} <= fields


def test_a_supervisor_has_a_selector_of_pairs() -> None:
    source = inspect.getsource(WatchedSubprocess._service_subprocess)
    assert "socket_handler, on_close = key.data" in source
    assert hasattr(ActivitySubprocess, "_monitor_subprocess")
