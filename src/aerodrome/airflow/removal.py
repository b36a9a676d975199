"""Removes what a team that is no longer in the configuration has left: ``python -m aerodrome.airflow.removal TEAM...``.

Its pools, variables, connections, dag_ids and the team itself. The history of its runs stays: DAGs, runs and logs.
"""

from __future__ import annotations

import json
import os
import sys

from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.models.team import Team, dag_bundle_team_association_table
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import CursorResult, delete
from sqlalchemy.orm import Session

from aerodrome.names import airflow_team
from aerodrome.secrets import resolve
from aerodrome.store import Store


def main() -> None:
    """Remove what the teams of the command line have left; done twice, it finds nothing."""
    teams = sys.argv[1:]
    with create_session() as session:
        counts = {team: remove(session, team) for team in teams}
    url = os.environ.get("AERODROME_STORE")
    if url:
        store = Store(url, resolve(json.loads(os.environ.get("AERODROME_STORE_OPTIONS") or "{}")))
        for team in teams:
            store.release_dag_ids(team, keep=())
    json.dump(counts, sys.stdout)


def remove(session: Session, team: str) -> dict[str, int]:
    """Remove the team's rows. Returns how many of each kind there were."""
    name = airflow_team(team)
    bundles = dag_bundle_team_association_table
    return {
        "pools": _count(session.execute(delete(Pool).where(Pool.team_name == name))),
        "variables": _count(session.execute(delete(Variable).where(Variable.team_name == name))),
        "connections": _count(session.execute(delete(Connection).where(Connection.team_name == name))),
        "bundles": _count(session.execute(delete(bundles).where(bundles.c.team_name == name))),
        "teams": _count(session.execute(delete(Team).where(Team.name == name))),
    }


def _count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount


if __name__ == "__main__":
    main()
