"""The folders of a snapshot on ``sys.path``: the same in parse, task, callback and triggerer.

Set only in a process that runs the team's code, from that process's own snapshot. A long-lived parent never has them:
every child would inherit one team's modules, or an old version's.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_active: list[str] = []


def import_paths(root: Path, imports: Iterable[str]) -> list[str]:
    """The entries of ``sys.path`` for the snapshot at `root`.

    Args:
        imports: folders, relative, with ``/``; "" and "." are `root` itself.
    """
    return list(dict.fromkeys(os.path.normpath(root / folder) for folder in imports))


def use(root: Path, imports: Iterable[str]) -> None:
    """Make the modules of the snapshot at `root` importable in this process, and those of any other one no longer.

    They come after everything that is installed, as Airflow has it: a team's module can not take the place of a
    library's. Modules that another snapshot was asked for before are forgotten.
    """
    global _active
    paths = import_paths(root, imports)
    if paths == _active:
        return
    if _active:
        sys.path[:] = [path for path in sys.path if path not in _active]
        _forget(tuple(path + os.sep for path in _active))
    sys.path.extend(path for path in paths if path not in sys.path)
    _active = paths
    importlib.invalidate_caches()


def runs_team_code() -> bool:
    """Whether this process is one that runs a team's code: a child of one of Airflow's supervisors, or a command.

    Such a child, and no other process, has a channel to its supervisor (Airflow asks the same in
    ``models/variable.py``); it is set before the child asks for its bundle. ``airflow dags test`` and its like run
    DAGs in a process of their own.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if getattr(runner, "SUPERVISOR_COMMS", None) is not None:
        return True
    return Path(sys.argv[0]).name == "airflow" and len(sys.argv) > 1 and sys.argv[1] in ("dags", "tasks")


def _forget(folders: tuple[str, ...]) -> None:
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
        if any(isinstance(place, str) and (place + os.sep).startswith(folders) for place in places):
            del sys.modules[name]
    for entry in [entry for entry in sys.path_importer_cache if (entry + os.sep).startswith(folders)]:
        del sys.path_importer_cache[entry]
