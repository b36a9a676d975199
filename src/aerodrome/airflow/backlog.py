"""How much each team has to do: ``python -m aerodrome.airflow.backlog`` prints JSON, ``{team: {state: tasks}}``.

Run where Airflow's database can be read: in the scheduler's container.
"""

from __future__ import annotations

import json
import sys

from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import func, select

STATES = ("scheduled", "queued", "running", "deferred", "up_for_retry")


def main() -> None:
    """Count the tasks that have not ended."""
    counted = (
        select(DagModel.bundle_name, TaskInstance.state, func.count())
        .join(DagModel, DagModel.dag_id == TaskInstance.dag_id)
        .where(TaskInstance.state.in_(STATES))
        .group_by(DagModel.bundle_name, TaskInstance.state)
    )
    found: dict[str, dict[str, int]] = {}
    with create_session() as session:
        for team, state, tasks in session.execute(counted):
            found.setdefault(str(team), {})[str(state)] = tasks
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
