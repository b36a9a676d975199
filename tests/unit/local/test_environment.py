from __future__ import annotations

import json
from pathlib import Path

import pytest

from aerodrome.config.installation import Installation
from aerodrome.local.environment import API, DATABASE, FERNET, JWT, LIVE, Environments
from aerodrome.local.kinship import MARK
from aerodrome.local.state import State

TEAMS = """
store_options: {access_key_id: {env: STORE_KEY}}
store: s3://bucket
airflow: {core: {parallelism: 3}}
teams:
  - {name: payments, repo: https://git.example.com/p.git, credentials: {token: {env: GIT_TOKEN}}}
  - {name: search-team, repo: https://git.example.com/s.git}
"""


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    path = tmp_path / "aerodrome.yaml"
    path.write_text(TEAMS)
    installation = Installation.open(path)
    State(installation.state).make()
    monkeypatch.setenv("GIT_TOKEN", "git-secret")
    monkeypatch.setenv("STORE_KEY", "store-secret")
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "99")
    monkeypatch.setenv("AIRFLOW_HOME", "/home/of/another/airflow")
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "http://example.com")
    return installation


@pytest.fixture
def environments(installation: Installation) -> Environments:
    return Environments(installation, port=8123)


def test_secrets_by_place(environments: Environments, installation: Installation) -> None:
    team = installation.config.teams[0]
    has = {
        role: {name for name in (DATABASE, FERNET, JWT, API) if name in environments.airflow(role, team)}  # type: ignore[arg-type]
        for role in ("api-server", "scheduler", "processor", "triggerer")
    }
    assert has == {
        "api-server": {DATABASE, FERNET, JWT, API},
        "scheduler": {DATABASE, FERNET, JWT},
        "processor": {DATABASE, FERNET},
        "triggerer": {DATABASE, FERNET},
    }
    assert JWT not in environments.preparation()
    assert not {DATABASE, FERNET, JWT, API} & set(environments.sync())


def test_only_sync_has_the_secrets_of_git(environments: Environments, installation: Installation) -> None:
    assert environments.sync()["GIT_TOKEN"] == "git-secret"
    team = installation.config.teams[0]
    for role in ("api-server", "scheduler", "processor", "triggerer"):
        found = environments.airflow(role, team)  # type: ignore[arg-type]
        assert "git-secret" not in "".join(found.values())
        assert found["STORE_KEY"] == "store-secret"


def test_airflow_settings_of_the_shell_stay_outside(environments: Environments, installation: Installation) -> None:
    found = environments.airflow("scheduler")
    assert found["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert found["AIRFLOW_HOME"] == str(installation.state / "airflow")
    assert found["AIRFLOW_CONN_MINE"] == "http://example.com"
    assert found[MARK] == str(installation.state)


def test_only_loopback(environments: Environments) -> None:
    found = environments.airflow("api-server")
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"
    assert found["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"


def test_live_settings_are_those_of_the_teams(environments: Environments) -> None:
    live = environments.live()
    assert set(live) == LIVE
    bundles = json.loads(live["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert [bundle["team_name"] for bundle in bundles] == ["payments", "search_team"]
