"""A machine with Airflow, a store, and the task API as far as a task needs it."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aerodrome.config.airflow_settings import COORDINATOR
from aerodrome.store import Manifest, Store, Verdict, now

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEAMS = ("payments", "risk", "nobody")


@dataclass
class Call:
    """Something that happens in a child of the machine."""

    process: int
    stream: Any
    connection: socket.socket

    def answer(self) -> dict[str, Any]:
        """The whole answer; {} when the child was killed."""
        with self.connection, self.stream:
            line = self.stream.readline()
        return json.loads(line) if line else {}

    def result(self) -> Any:
        answer = self.answer()
        assert "result" in answer, answer
        return answer["result"]


@dataclass
class Machine:
    address: str
    folder: Path
    store_url: str
    log: Path
    environment: Mapping[str, str]
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.store_url)

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def start(self, function: str, **arguments: object) -> Call:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        stream = connection.makefile("rw")
        print(json.dumps({"function": function, "arguments": arguments}), file=stream, flush=True)
        return Call(json.loads(stream.readline())["process"], stream, connection)

    def call(self, function: str, **arguments: object) -> Any:
        return self.start(function, **arguments).result()

    def fails(self, function: str, **arguments: object) -> tuple[str, str]:
        answer = self.start(function, **arguments).answer()
        assert "error" in answer, answer
        return answer["error"], answer["says"]

    def publish(self, team: str, snapshot: str, files: Mapping[str, str | bytes]) -> None:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for name, text in files.items():
                content = text.encode() if isinstance(text, str) else text
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        packed = zstd.compress(tar.getvalue(), 3)
        path = self.folder / "archive"
        path.write_bytes(packed)
        self.store.team(team).publish(
            path,
            Manifest(
                snapshot=snapshot,
                commit=snapshot[:40],
                author="Ada",
                subject="Change",
                time=now(),
                digest=f"sha256:{hashlib.sha256(packed).hexdigest()}",
                size=len(packed),
                unpacked=len(tar.getvalue()),
                files=len(files),
            ),
        )

    def go_live(self, team: str, snapshot: str) -> None:
        of_team = self.store.team(team)
        of_team.move(
            snapshot,
            why="gate",
            who="test",
            expected=of_team.current(),
            verdict=Verdict(snapshot=snapshot, hash="h", passed=True, judged=now()),
        )


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    store_url = (folder / "store").as_uri()
    config = [
        {
            "name": team,
            "classpath": "aerodrome.airflow.bundle.SnapshotBundle",
            "kwargs": {
                "store": store_url,
                "team": team,
                "dags": "dags",
                "commit_url": "https://git.example.com/acme/dags/commit/{commit}",
            },
        }
        for team in TEAMS
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(config),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "aerodrome.airflow.logs.LOGGING_CONFIG",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__SDK__COORDINATORS": json.dumps({"aerodrome": {"classpath": COORDINATOR}}),
        "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": json.dumps({"default": "aerodrome"}),
        "AERODROME_STORE": store_url,
    }
    log = folder / "machine.log"
    address = str(folder / "socket")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("machine.py")), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment,
        )
        assert process.stdin and process.stdout
        with process.stdin, process.stdout:
            for line in process.stdout:
                if line == b"ready\n":
                    break
            else:
                pytest.fail(log.read_text())
            threading.Thread(target=process.stdout.read, daemon=True).start()
            Store(store_url).start()
            yield Machine(address, folder, store_url, log, environment)
            process.stdin.close()
            process.wait()


class _TaskApi(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        if self.path.endswith("/run"):
            time = "2026-01-01T00:00:00Z"
            run = {
                **{"dag_id": "d", "run_id": "r", "run_type": "manual", "state": "running", "consumed_asset_events": []},
                **dict.fromkeys(("logical_date", "run_after", "start_date"), time),
                **dict.fromkeys(("data_interval_start", "data_interval_end", "end_date", "partition_key")),
            }
            data = json.dumps({"dag_run": run, "max_tries": 0, "should_retry": False}).encode()
        self.send_response(200 if data else 204)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PATCH = do_PUT = do_POST = _answer  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The task API's answers to a task that needs nothing from it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _TaskApi) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class Gate:
    """Children wait at ``path`` until it is opened; at ``ready`` the test waits for a child."""

    def __init__(self, folder: Path) -> None:
        self.path, self._ready = folder / "gate", folder / "ready"
        self._file = self.path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.mkfifo(self._ready)

    @property
    def names(self) -> dict[str, str]:
        return {"go": str(self.path), "ready": str(self._ready)}

    def wait_for_child(self) -> None:
        self._ready.read_bytes()

    def open(self) -> None:
        self._file.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Callable[[], Gate]]:
    gates: list[Gate] = []

    def gate() -> Gate:
        folder = tmp_path / f"gate{len(gates)}"
        folder.mkdir()
        gates.append(Gate(folder))
        return gates[-1]

    yield gate
    for made in gates:
        made.open()
