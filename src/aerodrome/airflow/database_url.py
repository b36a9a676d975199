"""The URL by which Airflow's asynchronous sessions reach the database.

Airflow makes it from the synchronous one by naming another driver. SQLAlchemy hands the parameters of a URL to the
driver as they are, and asyncpg refuses those that only libpq has, ``sslmode`` first of all: each variable that a task
asks for would end in an error. But asyncpg reads libpq's environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping

_SYNC = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_ASYNC = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"
# asyncpg/connect_utils.py of 0.32
_VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
}
_KNOWN = ("host", "port", "target_session_attrs")


def asynchronous(environ: Mapping[str, str]) -> dict[str, str]:
    """What to add to `environ`, so that asyncpg understands the database's URL; {} where it does as it is."""
    from sqlalchemy import make_url

    if _ASYNC in environ or not environ.get(_SYNC, "").startswith("postgresql"):
        return {}
    url = make_url(environ[_SYNC])
    foreign = set(url.query) - set(_KNOWN)
    if not foreign:
        return {}
    plain = url.set(drivername="postgresql+asyncpg").difference_update_query(foreign)
    found = {variable: str(url.query[name]) for name, variable in _VARIABLES.items() if name in foreign}
    return {_ASYNC: plain.render_as_string(hide_password=False), **found}
