"""The judgement: results of parsing, policy and who owns which dag_id in; findings and an answer out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aerodrome.gate import rules
from aerodrome.gate.findings import EXTERNAL, FIRM, read_ending, read_error
from aerodrome.gate.parsed import Parsed, ParsedDag, Policy, Surroundings
from aerodrome.store import Finding

_MOST = 200


@dataclass(frozen=True)
class Judgement:
    """The answer on one snapshot; :class:`aerodrome.store.Verdict` adds when, by whom and how long."""

    passed: bool
    findings: tuple[Finding, ...]
    dag_ids: tuple[str, ...]
    files: int
    external: bool
    """Refused, and everything that stands in the way may lie outside Git."""


def judge(parsed: Parsed, policy: Policy, around: Surroundings) -> Judgement:
    """Judge a snapshot.

    It passes when no finding is an error; a snapshot without a DAG passes with a warning.
    """
    read = [
        *(
            read_error(error.file, error.text, parsed.root, policy, around)
            for file in parsed.files
            for error in file.errors
        ),
        *(
            read_ending(file.file, file.ending, parsed.root, policy, around)
            for file in parsed.files
            if file.ending is not None
        ),
    ]
    outside = {finding for finding, external in read if external}
    dags = [dag for file in parsed.files for dag in file.dags]
    found = [
        *(finding for finding, _ in read),
        *(_left_behind(file.file, file.left_behind) for file in parsed.files if file.left_behind),
        *_refused(parsed, dags),
        *rules.duplicates(dags),
        *rules.foreign(dags, around),
        *rules.prefix(dags, policy),
        *rules.required(dags, policy),
    ]
    if not dags and not found:
        found.append(_no_dags(parsed, around))
    findings = [_weighed(finding, policy) for finding in found]
    errors = [finding for finding in findings if finding.severity == "error"]
    return Judgement(
        passed=not errors,
        findings=_grouped(findings),
        dag_ids=tuple(sorted({dag.dag_id for dag in dags})),
        files=len(parsed.files),
        # one mistake in the code, and looking again can not help
        external=bool(errors) and all(finding in outside or finding.kind in EXTERNAL for finding in errors),
    )


def _weighed(finding: Finding, policy: Policy) -> Finding:
    if finding.kind in policy.allow and finding.kind not in FIRM:
        return finding.model_copy(update={"severity": "warning"})
    return finding


def _grouped(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, each once: a mistake in a module that many files import is one finding."""
    kept: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        message, _, _ = finding.message.partition(" (imported by ")
        kept.setdefault((finding.kind, finding.file, finding.line, message, finding.severity), []).append(finding)
    merged = []
    for same in kept.values():
        first, others = same[0], len(same) - 1
        if others:
            first = first.model_copy(update={"message": f"{first.message} (and {others} more files)"})
        merged.append(first)
    merged.sort(key=lambda f: (f.severity != "error", f.file or "", f.line or 0, f.kind, f.message))
    if len(merged) > _MOST:
        rest = Finding(
            kind=merged[_MOST].kind,
            message=f"{len(merged) - _MOST} more findings are not shown",
            remedy="Mend the first ones.",
            severity=merged[_MOST].severity,
        )
        merged = [*merged[:_MOST], rest]
    return tuple(merged)


def _left_behind(file: str, names: tuple[str, ...]) -> Finding:
    return Finding(
        kind="process-left",
        file=file,
        message=f"importing the file leaves processes behind: {', '.join(names[:5])}; they were ended",
        remedy="Start processes inside a task.",
    )


def _refused(parsed: Parsed, dags: list[ParsedDag]) -> list[Finding]:
    files = {dag.dag_id: dag.file for dag in dags}
    return [
        Finding(
            kind="refused-by-database",
            file=files.get(dag_id),
            message=f"the DAG {dag_id} can not be stored: {said}" if dag_id else f"the DAGs can not be stored: {said}",
            remedy="Look for names or texts that are too long, or hold characters that a database can not.",
        )
        for dag_id, said in sorted(parsed.refused.items())
    ]


def _no_dags(parsed: Parsed, around: Surroundings) -> Finding:
    what = f"{len(parsed.files)} files define no DAG" if parsed.files else "there is no DAG file"
    return Finding(
        kind="no-dags",
        message=f"{what}: team {around.team} has no DAG with this commit",
        remedy="Look at the team's dags folder and at .airflowignore, if that is not what was meant.",
        severity="warning",
    )
