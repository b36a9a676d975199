"""From what a child sent to what the gate judges. What it sent is untrusted: team code ran in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow.dag_processing.processor import DagFileParsingResult
from airflow.serialization.serialized_objects import LazyDeserializedDAG

from aerodrome.gate import Ending, FileError, ParsedDag, ParsedFile
from aerodrome.gate.rules import AIRFLOW_OWNER


@dataclass(frozen=True)
class Outcome:
    """What parsing one file came to.

    Args:
        path: the file, relative to the DAG folder: Airflow's name of it.
        dags: as they are to be stored.
        warnings: Airflow's own, arguments of ``DagWarning``.
        seconds: how long it took.
    """

    path: str
    file: ParsedFile
    dags: tuple[LazyDeserializedDAG, ...] = ()
    warnings: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0
    errors: Mapping[str, str] = field(default_factory=dict)
    """Path, relative to the DAG folder, to what Airflow says is wrong with it."""


def outcome(
    path: str,
    *,
    folder: str,
    root: Path,
    result: DagFileParsingResult | None,
    ending: Ending | None,
    left: Iterable[str] = (),
    seconds: float = 0.0,
) -> Outcome:
    """What the child of the file `path` has come to.

    Args:
        folder: the DAG folder, relative to the repository's root ("" or "." = the root).
        root: folder of the snapshot.
        result: what it sent.
        ending: how it ended without a result.
    """
    name = _in_repository(folder, path)
    if result is None:
        return Outcome(path, ParsedFile(name, ending=ending, left_behind=tuple(left)), seconds=seconds)
    dags, facts = [], []
    errors = {_relative(key, root, folder): text for key, text in (result.import_errors or {}).items()}
    for dag in result.serialized_dags:
        try:
            facts.append(_facts(dag, folder, path))
            dags.append(dag)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            errors[path] = f"the DAG is not one that Airflow serialized: {type(error).__name__}: {error}"
    warnings = tuple(w for w in result.warnings or () if isinstance(w, dict))
    parsed = ParsedFile(
        name,
        tuple(facts),
        tuple(FileError(_in_repository(folder, key), text) for key, text in errors.items()),
        None,
        tuple(left),
    )
    return Outcome(path, parsed, tuple(dags), warnings, seconds, errors)


def folders_of(root: Path, modules: Iterable[str]) -> dict[str, str]:
    """Where in the snapshot at `root` the top-level `modules` are, for those that are there at all."""
    wanted = {module.partition(".")[0] for module in modules}
    found: dict[str, str] = {}
    for folder, below, files in os.walk(root) if wanted else ():
        below.sort()
        where = os.path.relpath(folder, root)
        for name in wanted - found.keys():
            if name in below or f"{name}.py" in files:
                found[name] = "" if where == "." else where
        if where.count(os.sep) >= 4:
            below.clear()
    return found


def _facts(dag: LazyDeserializedDAG, folder: str, path: str) -> ParsedDag:
    data = dag.data["dag"]
    dag_id = data["dag_id"]
    if not isinstance(dag_id, str):
        raise TypeError("its dag_id is no text")
    owners = set()
    for task in data["tasks"]:
        fields = task["__var"]
        owners.add(fields.get("owner") or fields.get("partial_kwargs", {}).get("owner") or AIRFLOW_OWNER)
    relative = data.get("relative_fileloc") or path
    return ParsedDag(
        dag_id,
        _in_repository(folder, str(relative)),
        tuple(sorted(map(str, owners))),
        tuple(sorted(map(str, _plain(data.get("tags")) or ()))),
        str(data.get("description") or ""),
        str(data.get("doc_md") or ""),
    )


def _plain(value: Any) -> Any:
    """A set, as serialized, is ``{"__type": "set", "__var": [...]}``."""
    return value["__var"] if isinstance(value, dict) and "__var" in value else value


def _in_repository(folder: str, path: str) -> str:
    return path if folder in ("", ".") else f"{folder}/{path}"


def _relative(key: str, root: Path, folder: str) -> str:
    """Airflow names files inside of an archive by their absolute path."""
    base = os.path.normpath(root / folder) + os.sep
    return key[len(base) :] if key.startswith(base) else key
