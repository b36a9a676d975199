from __future__ import annotations

import json
from pathlib import Path

from aerodrome.config import parse
from aerodrome.config.airflow_settings import bundles, common, environment, reserved, variable
from aerodrome.config.installation import Installation

TEXT = """
store: s3://bucket/$prefix
store_options: {region: eu, secret_access_key: {env: THE_KEY}}
auth: {simple: {users: [{name: ada, role: admin}, {name: bob, role: user, teams: [team-b]}, {name: eve, teams: []}]}}
airflow: {core: {parallelism: 8, dags_are_paused_at_creation: true}, celery.x: {a_b: {c: [1]}}}
teams:
- {name: team-a, repo: 'https://github.com/x/y.git', dags: dags}
- {name: team-b, repo: /srv/y, gate: {timeout: 90.5s}}
"""


def installation(text: str = TEXT) -> Installation:
    return Installation(parse(text), Path("/c/aerodrome.yaml"), Path("/c/.aerodrome"))


def test_bundles() -> None:
    a, b = bundles(installation())
    assert a == {
        "name": "team-a",
        "classpath": "aerodrome.airflow.bundle.SnapshotBundle",
        "team_name": "team_a",
        "kwargs": {
            "store": "s3://bucket/$prefix",
            "store_options": {"region": "eu", "secret_access_key": {"env": "THE_KEY"}},
            "team": "team-a",
            "dags": "dags",
            "imports": ["", "dags"],
            "commit_url": "https://github.com/x/y/commit/{commit}",
        },
    }
    assert b["name"] == "team-b"


def test_common() -> None:
    settings = common(installation())
    assert all(isinstance(value, str) for value in settings.values())
    assert settings["AIRFLOW__CORE__MULTI_TEAM"] == "True"
    assert settings["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert settings["AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL"] == "0"
    assert settings["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] == "90.5"
    written = settings["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"]
    assert "$" not in written, "Airflow expands $NAME in the environment"
    assert json.loads(written) == bundles(installation())
    assert json.loads(settings["AERODROME_STORE_OPTIONS"])["secret_access_key"] == {"env": "THE_KEY"}


def test_users_without_teams_see_all_and_names_are_airflows() -> None:
    users = common(installation())["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
    assert users == "ada:admin:team_a|team_b,bob:user:team_b,eve:user"


def test_the_users_own_settings_win() -> None:
    settings = environment(installation(), "scheduler")
    assert settings["AIRFLOW__CORE__PARALLELISM"] == "8"
    assert settings["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] == "True"
    assert settings["AIRFLOW__CELERY_X__A_B"] == '{"c": [1]}'


def test_a_teams_gate_reaches_its_processor_and_its_workers() -> None:
    place = installation()
    a, b = place.config.teams
    processor = environment(place, "processor", team=a)
    assert processor["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] == "60"
    assert processor["AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"] == "90"
    slow = environment(place, "processor", team=b)
    assert slow["AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"] == "121"
    assert environment(place, "worker", team=a)["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] == "60"
    assert environment(place, "worker")["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] == "90.5"


def test_another_auth_manager() -> None:
    settings = common(installation("auth: {manager: my.auth.Manager}"))
    assert settings["AIRFLOW__CORE__AUTH_MANAGER"] == "my.auth.Manager"
    assert "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS" not in settings


def test_everything_that_is_set_for_all_is_reserved_or_meant_to_be_overridden() -> None:
    open_to_users = {
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION",
        "AIRFLOW__SDK__COORDINATORS",
        "AIRFLOW__SDK__QUEUE_TO_COORDINATOR",
    }
    for name in common(installation("teams: [{name: aaa, repo: r}]")):
        if name.startswith("AIRFLOW__") and name not in open_to_users:
            _, section, key = name.lower().split("__")
            assert reserved(section, key), name


def test_variable() -> None:
    assert variable("core", "parallelism") == "AIRFLOW__CORE__PARALLELISM"
    assert variable("a.b", "c") == "AIRFLOW__A_B__C"
