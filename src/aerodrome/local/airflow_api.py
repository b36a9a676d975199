"""The few calls of Airflow's REST API that local tools make. Only to this platform's own api-server on loopback."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from aerodrome.errors import AerodromeError
from aerodrome.local.ports import LOOPBACK

FINAL = ("success", "failed")


class AirflowApi:
    """Airflow's REST API.

    Args:
        port: of the api-server.
        host: its address.
        user: whose password to log in with; None: the platform asks for none.
        password: of that user.
    """

    def __init__(
        self, port: int, user: str | None = None, password: str | None = None, *, host: str = LOOPBACK
    ) -> None:
        self._base = f"http://{host}:{port}"
        self._user, self._password = user, password
        self._token: str | None = None
        # a proxy of the environment is not for loopback
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """The DAG; None while Airflow does not know it."""
        return self._call("GET", f"/api/v2/dags/{_quote(dag_id)}", missing=True)

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None) -> str:
        """Start a run now. Returns its id.

        Args:
            conf: the run's parameters.
        """
        body = {"logical_date": None, "conf": dict(conf or {})}
        answer = self._call("POST", f"/api/v2/dags/{_quote(dag_id)}/dagRuns", body)
        assert answer is not None
        return str(answer["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A DAG run."""
        answer = self._call("GET", f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}")
        assert answer is not None
        return answer

    def runs(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """The last runs of all DAGs."""
        answer = self._call("GET", f"/api/v2/dags/~/dagRuns?limit={limit}&order_by=-run_after")
        return list(answer["dag_runs"]) if answer is not None else []

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        answer = self._call("GET", f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}/taskInstances")
        assert answer is not None
        return list(answer["task_instances"])

    def result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task has returned; None when nothing."""
        path = f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}/taskInstances/{_quote(task_id)}"
        answer = self._call("GET", f"{path}/xcomEntries/return_value?deserialize=true", missing=True)
        return answer["value"] if answer is not None else None

    def log(self, dag_id: str, run_id: str, task_id: str, number: int = 1) -> str:
        """The log of a task's try."""
        path = f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}/taskInstances/{_quote(task_id)}/logs/{number}"
        answer = self._call("GET", f"{path}?full_content=true", missing=True)
        lines = answer["content"] if answer is not None else []
        return "\n".join(line if isinstance(line, str) else str(line.get("event", "")) for line in lines)

    def wait(self, dag_id: str, run_id: str, *, timeout: float) -> dict[str, Any]:
        """The run once it has ended, or as it is after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            if run["state"] in FINAL or time.monotonic() > deadline:
                return run
            time.sleep(0.2)

    def _call(self, method: str, path: str, body: Any = None, *, missing: bool = False) -> dict[str, Any] | None:
        if self._token is None:
            self._token = self._log_in()
        try:
            answer: dict[str, Any] = self._request(method, path, body, {"Authorization": f"Bearer {self._token}"})
            return answer
        except urllib.error.HTTPError as error:
            if missing and error.code == 404:
                return None
            raise AerodromeError(
                f"Airflow answers {error.code} to {method} {path.partition('?')[0]}: {_detail(error)}",
                "See the log of the api-server.",
            ) from None
        except (OSError, ValueError) as error:
            raise AerodromeError(f"Airflow's API does not answer: {error}", "See 'aerodrome status'.") from None

    def _log_in(self) -> str:
        try:
            if self._user is None:
                answer = self._request("GET", "/auth/token", None, {})
            else:
                answer = self._request("POST", "/auth/token", {"username": self._user, "password": self._password}, {})
            return str(answer["access_token"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AerodromeError(f"Airflow does not let us log in: {error}", "See the log of the api-server.") from None

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - always http on loopback
            self._base + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        with self._opener.open(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")


def _quote(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        detail = json.loads(error.read())["detail"]
    except (ValueError, KeyError, TypeError):
        return error.reason
    return str(detail)[:300]
