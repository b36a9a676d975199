"""A task whose pod is told to end (drained, preempted, deleted) is marked in time, and its log is kept.

Airflow hands the pod's SIGTERM on to the task, whose operator cleans up (``on_kill``); a task that goes on after that
would go on until the pod is killed, and with it the supervisor that reports the end and uploads the log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess

_ITS_OWN_END = 30
"""Seconds that a task has to end by itself; what its pod has beyond them (60 s in all) is for its log."""


def begin() -> None:
    """End at SIGTERM while there is no task yet: process 1 of a pod does not even notice it otherwise."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))


@contextlib.contextmanager
def bounded(process: ActivitySubprocess) -> Iterator[None]:
    """While Airflow watches `process`: end it in time when this process is told to end."""
    hand_on = signal.getsignal(signal.SIGTERM)
    ended = threading.Event()

    def end() -> None:
        process.process_log.warning(
            f"The pod of this task is told to end (evicted or deleted). The task has {_ITS_OWN_END} s to end by itself."
        )
        if not ended.wait(_ITS_OWN_END):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)

    def heard(number: int, frame: FrameType | None) -> None:
        if callable(hand_on):
            hand_on(number, frame)
        # not here: the signal may have come while this thread was writing to the log
        threading.Thread(target=end, daemon=True).start()

    signal.signal(signal.SIGTERM, heard)
    try:
        yield
    finally:
        ended.set()
