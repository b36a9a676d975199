"""Wakes Airflow's supervisors when the process that they watch has ended.

A supervisor watches the four sockets of its process. When the process exits, the kernel closes them before the process
becomes waitable; if the supervisor looks in between, it sees no exit code, no socket is left to wake it, and it sleeps
for as long as it may: ``[workers] min_heartbeat_interval`` (5 s) in a tenth to a quarter of all tasks, 10 s in a
triggerer that stops. A pidfd in the same selector is readable exactly when the process is waitable.
"""

from __future__ import annotations

import os
import selectors
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.execution_time.supervisor import WatchedSubprocess


def watch_end(process: WatchedSubprocess) -> None:
    """Have the selector of `process` wake when it has ended. Linux only; elsewhere nothing is changed."""
    if sys.platform == "linux":
        ended = open(os.pidfd_open(process.pid), "rb", buffering=0)  # noqa: SIM115, PTH123 - closed by the supervisor
        process.selector.register(ended, selectors.EVENT_READ, (lambda _: False, process.selector.unregister))
