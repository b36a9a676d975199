"""The environment of each component: Airflow's settings, and of the secrets only those that it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from aerodrome.config import Team
from aerodrome.config.airflow_settings import environment, variable
from aerodrome.config.installation import Installation
from aerodrome.local.keys import Keys
from aerodrome.local.kinship import MARK
from aerodrome.local.ports import LOOPBACK
from aerodrome.local.postgres import Postgres
from aerodrome.local.sizing import workers
from aerodrome.local.state import State

Role = Literal["api-server", "scheduler", "processor", "triggerer"]

SETTINGS = "AERODROME_SETTINGS"
"""Environment variable: file of settings that scheduler and api-server read again (aerodrome.airflow.component)."""

AFTER = "AERODROME_AFTER"
"""Environment variable: file that is there once the database is set up."""

DATABASE = variable("database", "sql_alchemy_conn")
FERNET = variable("core", "fernet_key")
JWT = variable("api_auth", "jwt_secret")
API = variable("api", "secret_key")

_NEEDS: dict[Role, frozenset[str]] = {
    "api-server": frozenset((DATABASE, FERNET, JWT, API)),
    "scheduler": frozenset((DATABASE, FERNET, JWT)),
    "processor": frozenset((DATABASE, FERNET)),
    "triggerer": frozenset((DATABASE, FERNET)),
}

# Settings that follow from the list of teams: scheduler and api-server take them up while they run.
LIVE = frozenset(
    variable(*name)
    for name in (
        ("dag_processor", "dag_bundle_config_list"),
        ("core", "dagbag_import_timeout"),
        ("core", "simple_auth_manager_users"),
    )
)


class Environments:
    """Environments of one platform on this machine.

    Args:
        installation: the configuration and its places.
        port: of the api-server.
        everyone_is_admin: no login: for a demonstration on loopback.
    """

    def __init__(self, installation: Installation, *, port: int, everyone_is_admin: bool = False) -> None:
        self._installation = installation
        self._state = State(installation.state)
        self._port = port
        self._open = everyone_is_admin

    def basic(self) -> dict[str, str]:
        """What every process gets: the user's environment without Airflow's settings and without Git's secrets."""
        secret = {
            place.env
            for where, place in self._installation.config.places()
            if place.env is not None and not where.startswith("store_options")
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW__", "_AIRFLOW", "AERODROME_")) and name not in secret
        }
        programs = str(Path(sys.executable).parent)
        return {
            **kept,
            "PATH": os.pathsep.join(dict.fromkeys([programs, *kept.get("PATH", os.defpath).split(os.pathsep)])),
            "PYTHONUNBUFFERED": "1",
            # titles of processes stay out of their environment, where MARK is looked for
            "SPT_NOENV": "1",
            MARK: str(self._state.folder),
            "AIRFLOW_HOME": str(self._state.airflow),
            "AIRFLOW_CONFIG": str(self._state.airflow / "airflow.cfg"),
        }

    def sync(self) -> dict[str, str]:
        """Of sync: the secrets of Git as well, nothing of Airflow."""
        names = {place.env for _, place in self._installation.config.places() if place.env is not None}
        return self.basic() | {name: os.environ[name] for name in names if name in os.environ}

    def airflow(self, role: Role, team: Team | None = None) -> dict[str, str]:
        """Of a component of Airflow.

        Raises:
            AerodromeError: a secret's place can not be read.
        """
        secrets = {name: value for name, value in self._secrets().items() if name in _NEEDS[role]}
        return {
            **self.basic(),
            **self._local(),
            **environment(self._installation, role, team=team),
            **secrets,
            **self._component(role),
        }

    def preparation(self) -> dict[str, str]:
        """Of the one that sets the database up: as the scheduler, but it signs nothing."""
        found = self.airflow("scheduler")
        found.pop(JWT)
        return found

    def live(self) -> dict[str, str]:
        """The settings that may change while scheduler and api-server run."""
        whole = environment(self._installation, "scheduler")
        return {name: whole[name] for name in sorted(LIVE) if name in whole}

    def _component(self, role: Role) -> dict[str, str]:
        if role not in ("scheduler", "api-server"):
            return {}
        return {SETTINGS: str(self._state.settings), AFTER: str(self._state.prepared)}

    def _local(self) -> dict[str, str]:
        url = f"http://localhost:{self._port}"
        settings: dict[tuple[str, str], object] = {
            ("api", "base_url"): url,
            ("api", "host"): LOOPBACK,
            ("api", "port"): self._port,
            ("api", "workers"): 1,
            ("core", "execution_api_server_url"): f"http://{LOOPBACK}:{self._port}/execution/",
            ("core", "parallelism"): workers(),
            # a new interpreter for each worker would cost its memory and its start
            ("core", "mp_start_method"): "fork",
            ("core", "simple_auth_manager_passwords_file"): self._state.passwords,
            ("core", "simple_auth_manager_all_admins"): self._open,
            ("dag_processor", "dag_bundle_storage_path"): self._state.bundles,
            ("logging", "base_log_folder"): self._state.airflow / "logs",
            ("logging", "dag_processor_child_process_log_directory"): self._state.airflow / "logs" / "parse",
            ("usage_data_collection", "enabled"): False,
        }
        return {variable(*name): str(value) for name, value in settings.items()}

    def _secrets(self) -> Mapping[str, str]:
        config = self._installation.config
        keys = Keys.of(self._state)
        if config.database.url is not None:
            url = config.database.url.read()
        else:
            url = Postgres(self._state.database, self._state.sockets).url()
        return {DATABASE: url, FERNET: keys.fernet, JWT: keys.jwt, API: keys.api}
