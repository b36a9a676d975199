"""An Airflow with a history comes here: the steps of the guides, from the KubernetesExecutor with a GitDagBundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import images
import pytest
from platform_kit import Platform, files
from stock_airflow import IMAGE, NAMESPACE, Stock

NAME = "air-moved"
DAG = """\
from airflow.sdk import Connection, Variable, dag, task

@dag(schedule=None)
def alpha_warehouse():
    @task
    def password():
        return [Variable.get("city"), Connection.get("warehouse").password[::-1]]
    password()

alpha_warehouse()
"""
CONNECTION = {"connection_id": "warehouse", "conn_type": "http", "host": "example.com", "password": "kept with the key"}


@pytest.fixture(scope="module")
def platform(platform_of: Callable[[str, str], Platform]) -> Platform:
    """One team, named as the bundle was."""
    platform = platform_of(NAME, "split")
    platform.team("alpha").commit(files("alpha") | {"dags/warehouse.py": DAG})
    return platform


@pytest.fixture(scope="module")
def stock(platform: Platform, cluster: Any) -> Iterator[Stock]:
    """The Airflow that is left, of the same repository."""
    archive: Path = images.with_git(IMAGE)
    cluster.load(archive)
    yield Stock(cluster, platform.url_with_token("alpha"), "alpha")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_history_connections_and_dags_move(platform: Platform, stock: Stock) -> None:
    kubectl = platform.cluster.kubectl
    platform.until(lambda: stock.api.dag("alpha_warehouse"), "the DAG is there", 120)
    stock.api._call("POST", "/api/v2/connections", CONNECTION)
    stock.api._call("POST", "/api/v2/variables", {"key": "city", "value": "of the old one"})
    old = stock.api.trigger("alpha_warehouse")
    assert stock.api.wait("alpha_warehouse", old, timeout=120)["state"] == "success"

    kubectl("-n", NAMESPACE, "scale", "deployment/stock", "--replicas=0")
    kubectl("create", "namespace", NAME)
    kubectl("label", "namespace", NAME, f"app.kubernetes.io/instance={NAME}")
    platform.secret(NAME, f"{NAME}-fernet", {"key": stock.fernet_key})
    platform.secret(NAME, "database", {"url": stock.database_url})
    platform.write(database={"url": {"secret": "database", "key": "url"}})
    platform.run("apply", code=1)
    platform.secrets()
    platform.run("apply")

    assert platform.api.run("alpha_warehouse", old)["state"] == "success"
    platform.until(lambda: (platform.api.dag("alpha_warehouse") or {}).get("bundle_version"), "the team is live")
    new = platform.succeeds("alpha_warehouse")
    assert [run["dag_run_id"] for run in platform.api.runs()] == [new, old]
    for run_id in (old, new):
        assert platform.api.result("alpha_warehouse", run_id, "password") == [
            "of the old one",
            CONNECTION["password"][::-1],
        ]
    assert "nothing to change" in platform.run("apply")
