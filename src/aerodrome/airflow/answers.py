"""Answers to what DAG files ask while they are parsed: variables and connections, mostly.

Airflow's dag-processor builds its whole task API in its own process for that: 6 s of CPU at the first question, 70 MB.
Variables and connections are answered here as its routes answer them (``variables.py`` and ``connections.py`` in
``execution_api/routes`` of Airflow 3.3: no team, hence only those that belong to no team); anything else still goes
there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk.api.datamodels._generated import ConnectionResponse, VariableResponse
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse


class Answers:
    """In place of Airflow's ``Client`` to its own API.

    Args:
        connections, variables: answer one question; None = there is no such thing.
        others: makes the client that answers everything else.
    """

    def __init__(
        self,
        *,
        connections: Callable[[str], ConnectionResponse | None],
        variables: Callable[[str], str | None],
        others: Callable[[], Any],
    ) -> None:
        self._others = others
        self._client: Any = None
        self.connections = _Connections(connections)
        self.variables = _Variables(variables, self._rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rest(), name)

    def _rest(self) -> Any:
        if self._client is None:
            self._client = self._others()
        return self._client


class _Connections:
    def __init__(self, get: Callable[[str], ConnectionResponse | None]) -> None:
        self._get = get

    def get(self, conn_id: str) -> ConnectionResponse | ErrorResponse:
        found = self._get(conn_id)
        if found is None:
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND, detail={"conn_id": conn_id})
        return found


class _Variables:
    def __init__(self, get: Callable[[str], str | None], rest: Callable[[], Any]) -> None:
        self._get = get
        self._rest = rest

    def get(self, key: str) -> VariableResponse | ErrorResponse:
        found = self._get(key)
        if found is None:
            return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": key})
        return VariableResponse(key=key, value=found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rest().variables, name)


def from_platform(others: Callable[[], Any]) -> Answers:
    """Answers from Airflow's secrets backends and its database."""
    return Answers(connections=_connection, variables=_variable, others=others)


def from_nothing() -> Answers:
    """Answers where there is no platform: what the environment does not have does not exist."""
    return Answers(connections=lambda _: None, variables=lambda _: None, others=_Nothing)


class _Nothing:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"there is no platform that could answer questions about {name}")


def _variable(key: str) -> str | None:
    from airflow.models.variable import Variable

    try:
        value = Variable.get(key, team_name=None)
    except KeyError:
        return None
    return value if value is None else str(value)


def _connection(conn_id: str) -> ConnectionResponse | None:
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found = Connection.get_connection_from_secrets(conn_id, team_name=None)
    except AirflowNotFoundException:
        return None
    return ConnectionResponse(
        conn_id=found.conn_id,
        conn_type=found.conn_type or "",
        host=found.host,
        schema_=found.schema,
        login=found.login,
        password=found.password,
        port=found.port,
        extra=found.extra,
    )
