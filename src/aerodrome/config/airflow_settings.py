"""Airflow's settings for each component, as ``AIRFLOW__SECTION__KEY`` environment variables. Pure.

They reach every component the same way, in this order, the later one winning: what Aerodrome needs everywhere, what
one role needs, the user's ``airflow:`` section. The user's section can not hold what the platform stands on: such keys
are refused when the file is read (:func:`reserved`). No value here is a secret.

Sources of what Airflow expects: ``airflow/config_templates/config.yml``, ``dag_processing/bundles/manager.py`` and
``_shared/configuration/parser.py`` of Airflow 3.3.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from aerodrome.config.installation import Installation
    from aerodrome.config.model import Config, Team

Role = Literal["api-server", "scheduler", "processor", "triggerer", "worker"]

BUNDLE = "aerodrome.airflow.bundle.SnapshotBundle"
LOGGING = "aerodrome.airflow.logs.LOGGING_CONFIG"
COORDINATOR = "aerodrome.airflow.coordinator.PromptCoordinator"
SIMPLE_AUTH = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"

STORE = "AERODROME_STORE"
"""Environment variable: URL of the store, for what has no bundle (task logs, the plugin)."""
STORE_OPTIONS = "AERODROME_STORE_OPTIONS"
"""Environment variable: JSON of the store's options, secrets as places (``aerodrome.secrets.resolve``)."""
LOG_SEGMENT = "AERODROME_LOG_SEGMENT"
"""Environment variable: seconds between two segments of a running task's log."""

# A child that parses is ended this long after the import time-out, when the time-out itself could not end it.
PARSE_GRACE = 30

_OWN = "is set by Aerodrome"
_KEYS = "is a secret that Aerodrome makes itself, and never one of this file"
_RESERVED: dict[str, dict[str, str]] = {
    "core": {
        "multi_team": f"{_OWN}: every team is a team of Airflow",
        "executor": f"{_OWN}: each team has its executor",
        "load_examples": f"{_OWN}: Airflow's examples belong to no team",
        "min_serialized_dag_update_interval": f"{_OWN}: with more than 0 a new commit runs with an old graph",
        "dagbag_import_timeout": "is gate.timeout of each team",
        "dags_folder": "has no meaning here: DAGs come from the repositories",
        "auth_manager": "is auth.manager",
        "simple_auth_manager_users": "is auth.simple.users",
        "simple_auth_manager_all_admins": "would let everyone in: use auth",
        "simple_auth_manager_passwords_file": f"{_OWN}: passwords are generated",
        "execution_api_server_url": f"{_OWN}: it is where the task API is reached",
        "fernet_key": _KEYS,
    },
    "database": {
        "sql_alchemy_conn": "is database.url, the place of a secret",
        "sql_alchemy_conn_async": "follows from database.url",
    },
    "dag_processor": {
        "dag_bundle_config_list": f"{_OWN}: each team has its bundle",
        "dag_bundle_storage_path": f"{_OWN}: snapshots are unpacked there",
        "disable_bundle_versioning": f"{_OWN}: each run is pinned to its commit",
        "dag_file_processor_timeout": "is gate.timeout of each team and 30 s more",
    },
    "logging": {
        "remote_logging": f"{_OWN}: logs go to the store",
        "remote_base_log_folder": f"{_OWN}: logs go to the store",
        "remote_log_conn_id": f"{_OWN}: logs go to the store",
        "remote_task_handler_kwargs": f"{_OWN}: logs go to the store",
        "logging_config_class": f"{_OWN}: logs go to the store",
        "base_log_folder": _OWN,
        "log_filename_template": f"{_OWN}: logs are found by it in the store",
    },
    "api": {"secret_key": _KEYS},
    "api_auth": {"jwt_secret": _KEYS, "jwt_private_key_path": _KEYS, "trusted_jwks_url": _KEYS, "jwt_kid": _KEYS},
}


def reserved(section: str, key: str) -> str | None:
    """Why `section` and `key` can not stand in the user's ``airflow:`` section; None when they can."""
    if section == "kubernetes_executor":
        return "has no effect on a team's executor: use kubernetes, and worker and quota of the team"
    known = _RESERVED.get(section, {})
    for name in (key, key.removesuffix("_cmd"), key.removesuffix("_secret")):
        if name in known:
            return known[name]
    return None


def variable(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{key.upper()}"


def bundles(installation: Installation) -> list[dict[str, object]]:
    """Airflow's ``[dag_processor] dag_bundle_config_list``: one bundle a team, with the team's name."""
    return [
        {
            "name": team.name,
            "classpath": BUNDLE,
            "team_name": team.airflow_name,
            "kwargs": {
                "store": installation.store_url,
                "store_options": installation.store_places,
                "team": team.name,
                "dags": team.dags,
                "imports": list(team.imports),
                "commit_url": team.repo_url.commit_page(team.forge),
            },
        }
        for team in installation.config.teams
    ]


def common(installation: Installation, *, executor: str = "LocalExecutor") -> dict[str, str]:
    """What every component and every worker needs, the user's own settings last.

    Args:
        executor: Airflow's ``[core] executor``: every executor that a DAG may name, everywhere, or tasks fail to start.
    """
    return _join(_common(installation, executor), _own(installation.config))


def environment(
    installation: Installation, role: Role, *, team: Team | None = None, executor: str = "LocalExecutor"
) -> dict[str, str]:
    """All settings of one component.

    Args:
        role: which component.
        team: whose it is, where each team has its own (processor, triggerer, worker on Kubernetes).
        executor: as for :func:`common`.
    """
    return _join(_common(installation, executor), _of_role(installation.config, role, team), _own(installation.config))


def _common(installation: Installation, executor: str) -> dict[str, str]:
    config = installation.config
    settings: dict[tuple[str, str], object] = {
        ("core", "multi_team"): True,
        ("core", "executor"): executor,
        ("core", "load_examples"): False,
        # A commit that passed the gate is meant to run; a user's own setting wins.
        ("core", "dags_are_paused_at_creation"): False,
        ("core", "min_serialized_dag_update_interval"): 0,
        ("core", "dagbag_import_timeout"): max((team.gate.timeout for team in config.teams), default=60.0),
        ("core", "auth_manager"): config.auth.manager or SIMPLE_AUTH,
        ("dag_processor", "dag_bundle_config_list"): bundles(installation),
        ("logging", "logging_config_class"): LOGGING,
        ("sdk", "coordinators"): {"aerodrome": {"classpath": COORDINATOR}},
        ("sdk", "queue_to_coordinator"): {"default": "aerodrome"},
    }
    if config.auth.manager is None:
        settings["core", "simple_auth_manager_users"] = _users(config)
    return {
        **{variable(*name): _text(value) for name, value in settings.items()},
        STORE: installation.store_url,
        STORE_OPTIONS: json.dumps(installation.store_places, sort_keys=True),
        LOG_SEGMENT: f"{config.logs.segment:g}",
    }


def _of_role(config: Config, role: Role, team: Team | None) -> dict[str, str]:
    settings: dict[tuple[str, str], object] = {}
    if team is not None and role in ("processor", "worker"):
        settings["core", "dagbag_import_timeout"] = team.gate.timeout
    if role == "processor":
        timeout = team.gate.timeout if team is not None else max((t.gate.timeout for t in config.teams), default=60.0)
        settings["dag_processor", "dag_file_processor_timeout"] = math.ceil(timeout) + PARSE_GRACE
    return {variable(*name): _text(value) for name, value in settings.items()}


def _own(config: Config) -> dict[str, str]:
    return {
        variable(section, key): value for section, settings in config.airflow.items() for key, value in settings.items()
    }


def _users(config: Config) -> str:
    """``name:role[:team|team]``; a user without teams sees no team, so that all are named where none is."""
    everyone = [team.airflow_name for team in config.teams]
    users = []
    for user in config.auth.simple.users:
        names = everyone if user.teams is None else [team.replace("-", "_") for team in user.teams]
        users.append(":".join([user.name, user.role, *(["|".join(names)] if names else [])]))
    return ",".join(users)


def _text(value: object) -> str:
    if isinstance(value, list | dict):
        # Airflow expands $NAME in settings that come from the environment.
        return json.dumps(value).replace("$", "\\u0024")
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _join(*parts: dict[str, str]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for part in parts:
        joined |= part
    return joined
