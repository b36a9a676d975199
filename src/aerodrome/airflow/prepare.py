"""Brings Airflow's database to what the configuration says: ``python -m aerodrome.airflow.prepare``.

Schema, teams and bundles in one process (Airflow's commands for it take one process and its imports each). The whole
list of bundles is known here and only here, so that this is where DAGs of removed teams leave the UI. Prints JSON:
``{"removed": {team: [dag_ids that unfinished runs still need]}}``.
"""

from __future__ import annotations

import json
import sys

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.team import Team
from airflow.utils import db
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import select, update
from sqlalchemy.orm import Session


def main() -> None:
    """Migrate, add teams, sync bundles."""
    db.upgradedb()
    with create_session() as session:
        manager = DagBundlesManager()
        _add_teams(manager, session)
        session.flush()
        manager.sync_bundles_to_db(session=session)
        session.flush()
        removed = _remove_dags(session)
    json.dump({"removed": removed}, sys.stdout)


def _add_teams(manager: DagBundlesManager, session: Session) -> None:
    wanted = {bundle.team_name for bundle in manager._bundle_config.values() if bundle.team_name}
    known = set(session.scalars(select(Team.name)))
    for name in sorted(wanted - known):
        session.add(Team(name=name))


def _remove_dags(session: Session) -> dict[str, list[str]]:
    gone = set(session.scalars(select(DagBundleModel.name).where(DagBundleModel.active.is_(False))))
    if not gone:
        return {}
    session.execute(
        update(DagModel).where(DagModel.bundle_name.in_(gone), DagModel.is_stale.is_(False)).values(is_stale=True)
    )
    needed: dict[str, list[str]] = {name: [] for name in sorted(gone)}
    running = (
        select(DagModel.bundle_name, DagModel.dag_id)
        .join(DagRun, DagRun.dag_id == DagModel.dag_id)
        .where(DagModel.bundle_name.in_(gone), DagRun.state.in_(State.unfinished_dr_states))
        .distinct()
    )
    for bundle, dag_id in session.execute(running):
        needed[bundle].append(dag_id)
    return needed


if __name__ == "__main__":
    main()
