"""All DAGs of a team into Airflow's database, at one version, in one transaction; what vanished is gone in the same.

The transaction stays open while the pointer moves (:func:`release`): what the database refuses is known before, and is
a finding; the pointer's move is the commit point, and a database that fails after it is brought to it again.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models.asset import remove_references_to_deleted_dags
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.dagwarning import DagWarning
from airflow.models.errors import ParseImportError
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import State
from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from aerodrome.errors import Temporary
from aerodrome.store import now

_ATTEMPTS = 4
_LONGEST = 500


class DatabaseAway(Temporary):
    """Airflow's database can not be asked; nothing was written."""


@dataclass(frozen=True)
class Release:
    """What one snapshot puts into the database.

    Args:
        bundle: Airflow's name of the bundle.
        version: the snapshot's id.
        dags: all DAGs of the team.
        failed: files (as Airflow names them) to their error: their DAGs stay as they were.
        warnings: arguments of ``DagWarning``.
        seconds: of parsing, a DAG.
    """

    bundle: str
    version: str
    dags: tuple[LazyDeserializedDAG, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0


class Refused(Exception):
    """The database can not hold some DAGs: dag_id to reason; "" when it is not known which."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{dag_id}: {reason}" for dag_id, reason in reasons.items()))
        self.reasons = dict(reasons)


def release(what: Release, commit_point: Callable[[], bool]) -> bool:
    """Write `what`; just before the end of the transaction ask `commit_point`, and drop everything if it says no.

    Returns:
        Whether it was written.

    Raises:
        Refused: the database can not hold it; nothing was written, `commit_point` was not asked.
        DatabaseAway: the database can not be asked. `commit_point` may have been.
    """
    asked = False

    def ask() -> bool:
        nonlocal asked
        asked = True
        return commit_point()

    for attempt in range(_ATTEMPTS):
        try:
            return _transaction(what, ask)
        except _AWAY as error:
            raise away(error) from error
        except IntegrityError as error:
            # Another team's processor may have written the same asset at the same moment.
            if asked or attempt + 1 == _ATTEMPTS:
                raise Refused(_guilty(what) or {"": _reason(error)}) from error
            time.sleep(0.05 * random.random() * (attempt + 1))  # noqa: S311 - spreads writers, guards nothing
        except Refused:
            raise
        except Exception as error:
            if asked:
                raise
            raise Refused(_guilty(what) or {"": _reason(error)}) from error
    raise AssertionError("unreachable")


def _transaction(what: Release, commit_point: Callable[[], bool]) -> bool:
    with create_session() as session, prohibit_commit(session) as guard:
        _write(what, session)
        if not commit_point():
            session.rollback()
            return False
        guard.commit()
        return True


def _write(what: Release, session: Session) -> None:
    bundle = _locked(what.bundle, session)
    parsed = {(what.bundle, str(dag.relative_fileloc)) for dag in what.dags}
    errors: dict[tuple[str, str], str] = {}
    update_dag_parsing_results_in_db(
        bundle_name=what.bundle,
        bundle_version=what.version,
        version_data=None,
        dags=what.dags,
        import_errors=errors,
        parse_duration=what.seconds,
        warnings={DagWarning(**warning) for warning in what.warnings},
        session=session,
        files_parsed=parsed,
    )
    if errors:
        # Airflow caught them one by one and would store the rest.
        raise Refused(_guilty(what) or {"": _reason(next(iter(errors.values())))})
    _retire(what, session)
    _note_errors(what, session)
    session.flush()
    bundle = _locked(what.bundle, session)  # again: Airflow's own retries end the transaction
    bundle.version = what.version
    bundle.last_refreshed = now()
    session.flush()


def _locked(name: str, session: Session) -> DagBundleModel:
    """The team's row, for this transaction alone: two processors of one team write one after the other."""
    found = session.scalar(select(DagBundleModel).where(DagBundleModel.name == name).with_for_update())
    if found is None:
        found = DagBundleModel(name=name)
        session.add(found)
        session.flush()
    return found


def _retire(what: Release, session: Session) -> None:
    """Mark the team's DAGs that are not in the snapshot any more as gone."""
    ids = {dag.dag_id for dag in what.dags}
    gone = [
        row
        for row in session.scalars(
            select(DagModel).where(DagModel.bundle_name == what.bundle, DagModel.is_stale.is_(False))
        )
        if row.dag_id not in ids and row.relative_fileloc not in what.failed
    ]
    for row in gone:
        row.is_stale = True
    if gone:
        session.flush()
        remove_references_to_deleted_dags(session=session)


def _note_errors(what: Release, session: Session) -> None:
    """The errors of files that were allowed to fail, where Airflow's UI shows them; all others are gone."""
    session.execute(delete(ParseImportError).where(ParseImportError.bundle_name == what.bundle))
    for path, text in what.failed.items():
        session.add(ParseImportError(filename=path, bundle_name=what.bundle, timestamp=now(), stacktrace=text))


def _guilty(what: Release) -> dict[str, str]:
    """The DAGs that the database refuses even alone; nothing is written."""
    reasons: dict[str, str] = {}
    for dag in what.dags:
        errors: dict[tuple[str, str], str] = {}
        try:
            with create_session() as session:
                try:
                    update_dag_parsing_results_in_db(
                        what.bundle, what.version, [dag], errors, None, set(), session, files_parsed=set()
                    )
                finally:
                    session.rollback()
        except _AWAY as error:
            raise away(error) from error
        except Exception as error:
            reasons[dag.dag_id] = _reason(error)
        else:
            if errors:
                reasons[dag.dag_id] = _reason(next(iter(errors.values())))
    return reasons


def stored_version(bundle: str) -> str | None:
    """The snapshot that the database holds of a bundle; None when it holds none.

    Raises:
        DatabaseAway: the database can not be asked.
    """
    with asking(), create_session() as session:
        return session.scalar(select(DagBundleModel.version).where(DagBundleModel.name == bundle))


def unfinished(bundle: str) -> set[str]:
    """The dag_ids of a bundle with runs that have not ended."""
    with asking(), create_session() as session:
        found = session.scalars(
            select(DagRun.dag_id)
            .join(DagModel, DagModel.dag_id == DagRun.dag_id)
            .where(DagModel.bundle_name == bundle, DagRun.state.in_(State.unfinished_dr_states))
            .distinct()
        )
        return set(found)


def retire_removed_teams() -> None:
    """Mark the DAGs of bundles that are no longer configured as gone, as Airflow's own scan does."""
    with asking(), create_session() as session:
        inactive = select(DagBundleModel.name).where(DagBundleModel.active.is_(False))
        rows = session.scalars(
            select(DagModel).where(DagModel.bundle_name.in_(inactive), DagModel.is_stale.is_(False))
        ).all()
        for row in rows:
            row.is_stale = True


@contextlib.contextmanager
def asking() -> Any:
    """Say of a database that is away that it is away.

    Raises:
        DatabaseAway: the database can not be asked.
    """
    try:
        yield
    except _AWAY as error:
        raise away(error) from error


def away(error: BaseException) -> DatabaseAway:
    """`error` in one line, without the statement and its parameters."""
    return DatabaseAway(
        f"Airflow's database does not answer: {_reason(error)}", "It is tried again by itself; look at the database."
    )


_AWAY = (OperationalError, InterfaceError)


def _reason(error: BaseException | str) -> str:
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    lines: Iterable[str] = str(error).strip().splitlines()
    lines = [line for line in lines if line.strip()]
    # of a traceback the last line, of a database's message the first
    text = (lines[-1] if isinstance(error, str) else lines[0]) if lines else type(error).__name__
    return text[:_LONGEST]
