"""Airflow's global executor where every team has its own: it runs nothing.

Multi-team Airflow demands one beside the teams' executors (``executor_loader.py``), and each of Airflow's own starts
processes or talks to Kubernetes. Work that belongs to no team can only come from a mistake: it fails, with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.workloads import ExecuteTask

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload

_WHY = "it belongs to no team, and only teams have workers: DAGs come from the repositories of aerodrome.yaml"


class NoExecutor(BaseExecutor):
    """Fails whatever it is given."""

    supports_multi_team = True
    is_local = False
    serve_logs = False

    def start(self) -> None:
        """Nothing to start."""

    def _process_workloads(self, workload_items: Sequence[ExecutorWorkload]) -> None:
        for item in workload_items:
            if isinstance(item, ExecuteTask):  # no other kind is queued: callbacks and connection tests are refused
                key = item.ti.key
                self.log.error("%s can not run: %s", key, _WHY)
                self.queued_tasks.pop(key, None)
                self.fail(key, _WHY)

    def sync(self) -> None:
        """Nothing runs."""

    def end(self) -> None:
        """Nothing to end."""

    def terminate(self) -> None:
        """Nothing to end."""
