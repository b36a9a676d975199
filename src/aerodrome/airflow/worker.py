"""The process of one task in a pod: the container's command, to which Airflow's arguments are appended.

Does what ``airflow.sdk.execution_time.execute_workload`` does, for a third less CPU: the garbage collector stays off
while everything is imported and never looks at those objects again, and the process ends without tearing the
interpreter down (0.5 s). The KubernetesExecutor's arguments are a command themselves (``python -m
airflow.sdk.execution_time.execute_workload --json-string WORKLOAD``), which it recognizes its own pods by: what stands
before the options is passed over here.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback

from aerodrome.airflow import eviction


def main() -> None:
    """Run the workload of the command line; the exit code is Airflow's: 0 unless it could not be run at all."""
    gc.disable()
    eviction.begin()
    from airflow.sdk.execution_time import execute_workload, supervisor, task_runner  # noqa: F401 - to be frozen

    from aerodrome.airflow import coordinator

    gc.freeze()
    gc.enable()
    if execute_workload.__name__ in sys.argv:
        del sys.argv[1 : sys.argv.index(execute_workload.__name__) + 1]
    coordinator.route(_queue(sys.argv))

    code = 0
    try:
        execute_workload.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # logs are uploaded and the state is reported by now; atexit handlers would only close what the kernel closes anyway
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _queue(argv: list[str]) -> str:
    """The queue of the workload in `argv`; how to complain about a malformed one is left to Airflow."""
    try:
        queue = json.loads(argv[argv.index("--json-string") + 1])["ti"]["queue"]
    except (ValueError, LookupError, TypeError):
        return "default"
    return str(queue)


if __name__ == "__main__":
    main()
