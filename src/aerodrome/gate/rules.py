"""What the gate asks of DAGs that could be parsed. Pure: one function a rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from aerodrome.gate.parsed import ParsedDag, Policy, Surroundings
from aerodrome.store import Finding

AIRFLOW_OWNER = "airflow"
"""Owner of a task that names none (``[operators] default_owner``)."""


def duplicates(dags: Iterable[ParsedDag]) -> Iterator[Finding]:
    """A dag_id stands once in a snapshot."""
    files = defaultdict(list)
    for dag in dags:
        files[dag.dag_id].append(dag.file)
    for dag_id, found in sorted(files.items()):
        if len(found) > 1:
            where = " and ".join(sorted(set(found))) if len(set(found)) > 1 else f"{found[0]}, {len(found)} times"
            yield Finding(
                kind="duplicate-dag-id",
                file=sorted(found)[-1],
                message=f"the dag_id {dag_id} stands twice: in {where}",
                remedy="Rename all but one of them.",
            )


def foreign(dags: Iterable[ParsedDag], around: Surroundings) -> Iterator[Finding]:
    """A dag_id belongs to one team of the installation."""
    for dag in dags:
        owner = around.owners.get(dag.dag_id, around.team)
        if owner != around.team:
            yield foreign_id(dag.dag_id, owner, dag.file)


def foreign_id(dag_id: str, owner: str, file: str | None) -> Finding:
    """The finding of a dag_id that belongs to team `owner`."""
    return Finding(
        kind="foreign-dag-id",
        file=file,
        message=f"the dag_id {dag_id} belongs to team {owner}",
        remedy=f"Rename it, or have team {owner} remove theirs first (it is free once its last run has ended).",
    )


def prefix(dags: Iterable[ParsedDag], policy: Policy) -> Iterator[Finding]:
    """Every dag_id begins with the team's prefix."""
    for dag in dags:
        if not dag.dag_id.startswith(policy.dag_id_prefix):
            yield Finding(
                kind="dag-id-prefix",
                file=dag.file,
                message=f"the dag_id {dag.dag_id} does not begin with {policy.dag_id_prefix}",
                remedy=f"Rename it to {policy.dag_id_prefix}{dag.dag_id}.",
            )


def required(dags: Iterable[ParsedDag], policy: Policy) -> Iterator[Finding]:
    """Every DAG has what the policy requires."""
    remedies = {
        "owner": 'Give its tasks an owner: default_args={"owner": ...}.',
        "tags": "Give it tags=[...].",
        "description": "Give it a description=...",
        "doc": "Give it doc_md=..., or a docstring if it is a @dag function.",
    }
    for dag in dags:
        has: Mapping[str, bool] = {
            "owner": bool(dag.owners) and AIRFLOW_OWNER not in dag.owners,
            "tags": bool(dag.tags),
            "description": bool(dag.description.strip()),
            "doc": bool(dag.doc.strip()),
        }
        for what in policy.require:
            if not has.get(what, True):
                lacks = {"owner": "a task without an owner", "tags": "no tags", "doc": "no documentation"}
                yield Finding(
                    kind=f"no-{what}",
                    file=dag.file,
                    message=f"the DAG {dag.dag_id} has {lacks.get(what, 'no ' + what)}",
                    remedy=remedies[what],
                )
