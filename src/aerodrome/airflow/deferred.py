"""What Airflow imports on every task's way for functions that few tasks call: left until one is called.

Two imports of Airflow 3.3.2 cost a quarter of the time from a pod's start to a task's first line (``bench cluster``).
The modules that want them are imported here with a stand-in in their place. The first use of a stand-in imports what it
stands for and executes the module once more, now with the real one.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_LATER = {
    # to take @task.virtualenv and its like out of a function's source: 70 ms
    "airflow.sdk.definitions._internal.decorators": "libcst",
    # to store DAGs in the database, which brings all of its models: 140 ms
    "airflow.dag_processing.dagbag": "airflow.serialization.serialized_objects",
}


def load() -> None:
    """Import the modules without what they need later. What is imported already stays as it is."""
    for user, needed in _LATER.items():
        if user in sys.modules or needed in sys.modules:
            continue
        sys.modules[needed] = stand_in = _StandIn(needed, user)
        try:
            importlib.import_module(user)
            stand_in.waits = False
        except Exception:  # another Airflow, which needs it at once: it will be imported as it is
            sys.modules.pop(user, None)
        finally:
            sys.modules.pop(needed, None)


class _StandIn(ModuleType):
    """Stands for a module: while its user is imported, it has names to bind; later, what they stand for."""

    def __init__(self, name: str, user: str) -> None:
        super().__init__(name)
        self.user = user
        self.waits = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.waits:
            return _Name(name, (), {"stand_in": self})
        real = importlib.import_module(self.__name__)
        importlib.reload(sys.modules[self.user])
        return getattr(real, name)


class _Name(type):
    """A class of the module that may be derived from at once; its attributes are those of the real one."""

    stand_in: _StandIn

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or cls.stand_in.waits:
            raise AttributeError(name)
        return getattr(getattr(cls.stand_in, cls.__name__), name)
