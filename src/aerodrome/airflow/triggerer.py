"""A team's triggerer: ``python -m aerodrome.airflow.triggerer --team TEAM -c FILE --state DIR``.

Airflow's triggerer knows no bundles: it imports triggers by their class path, once, into a process that stays. Here
that process imports them from the team's live snapshot. When another one becomes live, it goes on with that one; if
files that it imported have changed, it is started again, and its triggers are taken up by its successor at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aerodrome.airflow import program
from aerodrome.airflow.database_url import asynchronous
from aerodrome.airflow.notes import Notes
from aerodrome.errors import AerodromeError

if TYPE_CHECKING:
    from aerodrome.config import Team
    from aerodrome.config.installation import Installation

log = logging.getLogger("aerodrome.triggerer")

# Of the secrets the one that Airflow's own child needs as well: arguments of triggers are encrypted in the database.
_OF_TRIGGERS = "AIRFLOW__CORE__FERNET_KEY"


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM."""
    options = program.options_of_team("aerodrome.airflow.triggerer", __doc__).parse_args(argv)
    try:
        return _run(options)
    except AerodromeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    from aerodrome.airflow import environment, subreaper
    from aerodrome.config.airflow_settings import environment as settings
    from aerodrome.config.installation import Installation

    installation = Installation.open(options.config, options.state)
    team = installation.config.team(options.team)
    secrets = environment.hide(installation.config)
    secrets.update(asynchronous(secrets))
    for name, value in settings(installation, "triggerer", team=team).items():
        os.environ.setdefault(name, value)
    os.environ.update(secrets)
    subreaper.hide_memory()
    with tempfile.TemporaryDirectory(prefix="aerodrome-triggerer-") as folder:
        _serve(installation, team, Notes(Path(folder)), frozenset(secrets) - {_OF_TRIGGERS})
    return 0


def _serve(installation: Installation, team: Team, notes: Notes, hidden: frozenset[str]) -> None:
    from airflow.configuration import conf
    from airflow.jobs.job import Job, run_job
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk._shared.secrets_masker import SecretsMasker

    from aerodrome.airflow.triggers import Snapshots, TeamTriggererJobRunner
    from aerodrome.store import Store

    ProvidersManager().initialize_providers_configuration()
    SecretsMasker.enable_log_masking()
    records = Store(installation.store_url, installation.store_options).team(team.name)
    runner = TeamTriggererJobRunner(
        job=Job(heartrate=conf.getfloat("triggerer", "job_heartbeat_sec")),
        team_name=team.airflow_name,
        snapshots=Snapshots(records, notes),
        imports=tuple(team.imports),
        hidden=hidden,
    )
    run_job(job=runner.job, execute_callable=runner._execute)


if __name__ == "__main__":
    program.run(main)
