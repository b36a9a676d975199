"""The process of one task in a pod: the container's command, to which Airflow's arguments are appended.

Does for a task what ``airflow.sdk.execution_time.execute_workload`` does, for half of the CPU: with the task SDK alone
(Airflow's way imports the executors and the models of its database too; :mod:`aerodrome.airflow.deferred`), with the
garbage collector off while everything is imported, and without tearing the interpreter down at the end (0.3 s).
Everything else that an executor may send, callbacks and tests of connections, goes Airflow's way.

The KubernetesExecutor's arguments are a command themselves (``python -m airflow.sdk.execution_time.execute_workload
--json-string WORKLOAD``), which it recognizes its own pods by: what stands before the options is passed over here.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from typing import Any

from aerodrome.airflow import deferred, eviction

_AIRFLOWS = "airflow.sdk.execution_time.execute_workload"
_OPTION = "--json-string"


def main() -> None:
    """Run the workload of the command line; the exit code is Airflow's: 0 unless it could not be run at all."""
    gc.disable()
    eviction.begin()
    deferred.load()
    from airflow.sdk.execution_time import supervisor, task_runner  # noqa: F401 - to be frozen

    from aerodrome.airflow import coordinator

    gc.freeze()
    gc.enable()

    workload = _workload(sys.argv)
    coordinator.route(workload.get("ti", {}).get("queue") or "default")
    code = 0
    try:
        if workload.get("type") == "ExecuteTask":
            _run(workload)
        else:
            _leave_to_airflow()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # logs are uploaded and the state is reported by now; atexit handlers would only close what the kernel closes anyway
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _workload(argv: list[str]) -> dict[str, Any]:
    """The workload in `argv`; empty where it is none, which Airflow then complains about."""
    try:
        found = json.loads(argv[argv.index(_OPTION) + 1])
    except (ValueError, LookupError):
        found = None
    return found if isinstance(found, dict) else {}


def _run(workload: dict[str, Any]) -> None:
    """Run a task as ``execute_workload`` and ``BaseExecutor.run_workload`` of Airflow 3.3.2 do."""
    from airflow.configuration import conf
    from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance
    from airflow.sdk.execution_time.supervisor import supervise_task
    from airflow.sdk.log import configure_logging
    from setproctitle import setproctitle

    setproctitle(f"airflow supervisor: {workload['ti']['id']}")  # the token of the task is in the arguments
    configure_logging(output=sys.stdout.buffer, json_output=True)
    supervise_task(
        ti=TaskInstance.model_validate(workload["ti"]),
        bundle_info=BundleInfo.model_validate(workload["bundle_info"]),  # type: ignore[arg-type] # the SDK's own twin
        dag_rel_path=workload["dag_rel_path"],
        token=workload["token"],
        server=conf.get("core", "execution_api_server_url"),
        log_path=workload["log_path"],
        sentry_integration=workload.get("sentry_integration", ""),
        subprocess_logs_to_stdout=True,  # so that `kubectl logs` has them
    )


def _leave_to_airflow() -> None:
    from airflow.sdk.execution_time import execute_workload

    if _AIRFLOWS in sys.argv:
        del sys.argv[1 : sys.argv.index(_AIRFLOWS) + 1]
    execute_workload.main()


if __name__ == "__main__":
    main()
