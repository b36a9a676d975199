"""What the gate judges: the results of parsing, and what else decides. Plain data.

All file names are relative to the repository's root, with ``/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

How = Literal["exit", "signal", "time", "memory", "output", "lost"]


@dataclass(frozen=True)
class ParsedDag:
    """One DAG that a file defines. `owners` are those of its tasks."""

    dag_id: str
    file: str
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""
    doc: str = ""


@dataclass(frozen=True)
class FileError:
    """An error that Airflow met in a file; `text` is its traceback, or one line."""

    file: str
    text: str


@dataclass(frozen=True)
class Ending:
    """How the process of a file ended without a result.

    Args:
        how: its own ``exit``, a ``signal``, the limits of ``time``, ``memory`` or ``output``, or ``lost`` with its
            parent, through no fault of its own.
        number: exit code or number of the signal.
        trace: where Python code was at that moment, as faulthandler writes it; "" when that is not known.
        stderr: the last lines that it wrote.
    """

    how: How
    number: int = 0
    trace: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class ParsedFile:
    """One DAG file. With an `ending` there is neither DAG nor error."""

    file: str
    dags: tuple[ParsedDag, ...] = ()
    errors: tuple[FileError, ...] = ()
    ending: Ending | None = None
    left_behind: tuple[str, ...] = ()
    """Names of processes that outlived the file's own one and had to be ended."""


@dataclass(frozen=True)
class Parsed:
    """A snapshot, parsed.

    Args:
        root: the folder in which it was parsed, which stands in tracebacks.
        files: each DAG file, once.
        refused: dag_id to what the database said of that DAG; "" for all of them together.
    """

    root: str
    files: tuple[ParsedFile, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """The team's ``gate`` section: see :class:`aerodrome.config.model.Gate`. Seconds and bytes."""

    timeout: float = 60.0
    memory: int = 1 << 30
    dag_id_prefix: str = ""
    require: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What lies outside the snapshot and still decides.

    Args:
        team: whose snapshot it is.
        owners: dag_id to team, of every dag_id that is claimed.
        imports: the team's folders on ``sys.path``.
        folders: top-level module to the folder of the snapshot that holds it, for modules that were not found.
        shared: whether all teams share this interpreter, as on one machine.
        interpreter: path of the Python that parsed.
    """

    team: str
    owners: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ("",)
    folders: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False
    interpreter: str = "python"
