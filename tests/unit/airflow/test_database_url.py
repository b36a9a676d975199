"""The database's URL, as asyncpg takes it."""

from __future__ import annotations

import pytest

from aerodrome.airflow.database_url import asynchronous

SYNC, ASYNC = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"


def test_parameters_of_libpq_become_its_variables_or_go() -> None:
    url = (
        "postgresql://air:p%40ss@db.example.com:5433/air?sslmode=verify-full&sslrootcert=/ca/root.crt&connect_timeout=5"
    )
    assert asynchronous({SYNC: url}) == {
        ASYNC: "postgresql+asyncpg://air:p%40ss@db.example.com:5433/air",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca/root.crt",
    }


def test_what_asyncpg_knows_stays() -> None:
    url = "postgresql+psycopg2://air@/air?host=/run/socket&sslmode=disable"
    found = asynchronous({SYNC: url})
    assert found == {ASYNC: "postgresql+asyncpg://air@/air?host=%2Frun%2Fsocket", "PGSSLMODE": "disable"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {SYNC: "sqlite:////tmp/air.db"},
        {SYNC: "postgresql+psycopg2://air:x@db/air"},
        {SYNC: "postgresql+psycopg2://air@/air?host=/run/socket"},
        {SYNC: "postgresql://air:x@db/air?sslmode=require", ASYNC: "postgresql+asyncpg://mine"},
    ],
)
def test_nothing_is_added_where_nothing_is_missing(environ: dict[str, str]) -> None:
    assert asynchronous(environ) == {}
