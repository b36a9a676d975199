"""Starts a component of Airflow: ``python -m aerodrome.airflow.component scheduler ...``.

The arguments and the program are Airflow's own. The environment gets what makes asyncpg understand the database's URL,
and three things are added at the one place where every process of Python forks:

- a forked process dies with its parent, as the component dies with its supervisor: a fork loses what the kernel was
  told (``PR_SET_PDEATHSIG``), and the LocalExecutor's workers wait for ever when their scheduler was killed;
- the settings that follow from the teams are read again, so that a team is added or removed while tasks of the others
  run: Airflow asks the environment at each look-up. A component reads them at SIGHUP too;
- in a cluster a forked process ends at SIGTERM: the KubernetesExecutor ends its watchers by it, but they inherit the
  scheduler's handler, which does nothing in a child, and each team's takes 20 s to be given up.

And the processes that run tasks do not find the scheduler's secrets in their environment. A component that is started
beside the set-up of the database imports what it needs meanwhile, and waits for it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import FrameType

from aerodrome.airflow import environment
from aerodrome.airflow.database_url import asynchronous

_SETTINGS = "AERODROME_SETTINGS"
_AFTER = "AERODROME_AFTER"
_PR_SET_PDEATHSIG = 1
# The component's own processes (workers, trigger runner), and theirs (tasks). What a task starts is its own affair.
_GENERATIONS = 2
_TASKS = 2


class _Kin:
    """What each fork of a component does, first before it in the parent, then in the child."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = secrets
        self._libc = ctypes.CDLL(None)
        self._generation = 0
        self._pid = os.getpid()
        self._in_main_thread = True

    def before(self) -> None:
        self._pid = os.getpid()
        # The kernel sends the signal when the thread that forked ends, not its process.
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def after(self) -> None:
        self._generation += 1
        if self._generation > _GENERATIONS:
            return
        if environment.CLUSTER in os.environ:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux" and self._in_main_thread:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._pid:
                os._exit(1)
        read_settings()
        if self._generation == _TASKS:
            for name in self._secrets:
                os.environ.pop(name, None)


def read_settings(number: int = 0, frame: FrameType | None = None) -> None:
    """Take up the settings of the file that ``AERODROME_SETTINGS`` names; a file that is not there changes nothing."""
    try:
        with open(os.environ[_SETTINGS]) as file:  # noqa: PTH123 - runs at each fork
            settings = json.load(file)
    except (KeyError, OSError, ValueError):
        return
    os.environ.update(settings)


def _await_database(component: str) -> None:
    """Wait for the file that ``AERODROME_AFTER`` names: the database is set up."""
    path = Path(os.environ.get(_AFTER, "/"))
    if path.exists():
        return
    if component == "api-server":
        # As airflow.api_fastapi.main does before its imports, so that plugins get the server's chain of secrets.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        import airflow.api_fastapi.app
        import airflow.api_fastapi.core_api.routes.public
        import airflow.api_fastapi.core_api.routes.ui
        import airflow.api_fastapi.execution_api.routes
        import airflow.cli.commands.api_server_command  # noqa: F401 - what the application is made of
    parent = os.getppid()
    while not path.exists():
        if os.getppid() != parent:
            sys.exit(1)
        time.sleep(0.02)


def main() -> None:
    """Run Airflow's command of the command line."""
    component = sys.argv[1]
    secrets = environment.hide() if component == "scheduler" else {}
    os.environ.update(secrets or asynchronous(os.environ))
    kin = _Kin(secrets)
    os.register_at_fork(before=kin.before, after_in_child=kin.after)
    signal.signal(signal.SIGHUP, read_settings)
    read_settings()
    _await_database(component)
    from airflow.__main__ import main as airflow

    airflow()


if __name__ == "__main__":
    main()
