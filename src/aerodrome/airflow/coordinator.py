"""Runs a task as Airflow does, and notices at once when its process has ended (:mod:`aerodrome.airflow.pidfd`).

Plugged in through Airflow's ``[sdk] coordinators`` and ``queue_to_coordinator``.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any, cast

from airflow.configuration import conf
from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstanceState
from airflow.sdk.execution_time.coordinator import BaseCoordinator
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

from aerodrome.airflow import eviction
from aerodrome.airflow.pidfd import watch_end

NAME = "aerodrome"


class _PromptSubprocess(ActivitySubprocess):
    """A task's process whose end wakes the supervisor, and which ends when its pod does."""

    def _monitor_subprocess(self) -> None:
        watch_end(self)
        with eviction.bounded(self):
            super()._monitor_subprocess()  # type: ignore[no-untyped-call]

    def update_task_state_if_needed(self) -> None:
        # Airflow 3.3.2 takes it that a task which is to be tried again has said so itself. One that was killed (memory,
        # eviction) has not, and would count as running until its heartbeat is missed: five minutes.
        said_nothing = self._pending_terminal_state_msg is None and self._terminal_state is None
        if said_nothing and self.final_state == TaskInstanceState.UP_FOR_RETRY:
            now = datetime.now(tz=UTC)
            self.client.task_instances.retry(self.id, now, self._rendered_map_index)
        else:
            super().update_task_state_if_needed()  # type: ignore[no-untyped-call]


class PromptCoordinator(BaseCoordinator):
    """Airflow's own way of running a Python task, with :class:`_PromptSubprocess` in place of its parent class."""

    def execute_task(  # the signature is Airflow's
        self, *, subprocess_logs_to_stdout: bool, **details: Any
    ) -> BaseCoordinator.ExecutionResult:
        # from here on the end of the task is to be reported
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":  # elsewhere Airflow may start another program in place of a target
            details["target"] = functools.partial(_run_task, details["bundle_info"])
        process = _PromptSubprocess.start(subprocess_logs_to_stdout=subprocess_logs_to_stdout, **details)
        exit_code = process.wait()
        return self.ExecutionResult(exit_code, process.final_state)


def _run_task(bundle: BundleInfo) -> None:
    """The task's process. While its parent asks the task API for leave, it imports and fetches what it needs next.

    What goes wrong here is said by the task, which does the same at its place.
    """
    from airflow.sdk.execution_time import task_runner

    with contextlib.suppress(Exception):
        import airflow.dag_processing.dagbag  # noqa: F401 - the task parses its file by it
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        from aerodrome.airflow.bundle import SnapshotBundle

        found = DagBundlesManager().get_bundle(bundle.name, bundle.version)
        if isinstance(found, SnapshotBundle):
            found.fetch()
    task_runner.main()


def route(queue: str) -> None:
    """Have this process run tasks of `queue` by :class:`PromptCoordinator`, unless the configuration names another.

    Airflow maps queues to coordinators by exact name only; the process of one task knows the name that it needs.
    """
    queues = cast(dict[str, str], conf.getjson("sdk", "queue_to_coordinator", fallback={}))
    coordinators = cast(dict[str, object], conf.getjson("sdk", "coordinators", fallback={}))
    if queue in queues:
        return
    classpath = f"{PromptCoordinator.__module__}.{PromptCoordinator.__name__}"
    os.environ["AIRFLOW__SDK__COORDINATORS"] = json.dumps({**coordinators, NAME: {"classpath": classpath}})
    os.environ["AIRFLOW__SDK__QUEUE_TO_COORDINATOR"] = json.dumps({**queues, queue: NAME})
