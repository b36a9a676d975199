"""One team's workshop for tests: a configuration, a store in a folder, snapshots published by hand, and a processor."""

from __future__ import annotations

import hashlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import psycopg2.extras
from backports import zstd

from aerodrome.store import Head, Manifest, Store, TeamStore, now

DAG = """
from airflow.sdk import dag, task

@dag(dag_id="{dag_id}", tags=["t"], schedule=None)
def made():
    @task
    def one():
        return "{mark}"
    one()

made()
"""


def dag(dag_id: str, mark: str = "") -> str:
    """A DAG file with one DAG."""
    return DAG.format(dag_id=dag_id, mark=mark)


def commit(name: str) -> str:
    """A commit's id made of a name."""
    return hashlib.sha1(name.encode()).hexdigest()


class Workshop:
    """A configuration in `folder` for `teams`, over the database at `url`."""

    def __init__(self, folder: Path, url: str | None, teams: Iterable[str] = ("payments",), **team: Any) -> None:
        self.folder = folder
        self.url = url
        self.state = folder / "state"
        self.config = folder / "aerodrome.yaml"
        teams = list(teams)
        self.config.write_text(
            json.dumps(
                {
                    "name": "test",
                    "teams": [{"name": name, "repo": str(folder), "dags": "dags", **team} for name in teams],
                }
            )
        )
        self.store = Store((self.state / "store").as_uri())
        self.store.start()
        self.team: TeamStore = self.store.team(teams[0])
        self.services: list[Service] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AERODROME"))},
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "airflow" / "logs"),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(folder / "airflow" / "parse"),
            "AIRFLOW__CORE__FERNET_KEY": "c2VjcmV0LWZlcm5ldC1rZXktb2YtMzItYnl0ZXMhISE=",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONWARNINGS": "ignore",
        }
        if url is not None:
            self.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url

    def push(self, name: str, files: Mapping[str, str], *, team: str | None = None, head: bool = True) -> str:
        """Publish a snapshot whose commit is made of `name`, and make it the head."""
        mine = self.store.team(team) if team else self.team
        data = archive(files)
        snapshot = commit(name)
        manifest = Manifest(
            snapshot=snapshot,
            commit=snapshot,
            author="Ada",
            subject=name,
            time=now(),
            digest="sha256:" + hashlib.sha256(data).hexdigest(),
            size=len(data),
            unpacked=sum(map(len, files.values())),
            files=len(files),
        )
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            mine.publish(Path(file.name), manifest)
        if head:
            mine.set_head(Head(snapshot=snapshot, commit=snapshot, ref="main", seen=now()))
        return snapshot

    def arguments(self, service: str, *more: str, team: str | None = None) -> list[str]:
        """The command line of a service."""
        return [
            *(sys.executable, "-m", f"aerodrome.airflow.{service}", "--team", team or self.team.name),
            *("-c", str(self.config), "--state", str(self.state), *more),
        ]

    def once(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """One run of the processor with ``--once``."""
        return subprocess.run(
            self.arguments("processor", "--once"),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *more: str, service: str = "processor", **environment: str) -> Service:
        """A processor that runs on."""
        log = self.folder / f"{service}.log"
        self.services.append(Service(self.arguments(service, *more), {**self.environment, **environment}, log))
        return self.services[-1]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of Airflow's database."""
        assert self.url is not None
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def live(self) -> dict[str, str]:
        """dag_id to version of the DAGs that are not stale."""
        return dict(self.rows("SELECT dag_id, bundle_version FROM dag WHERE NOT is_stale"))

    def until(self, condition: Callable[[], Any], seconds: float = 30.0, what: str = "condition") -> Any:
        """The first true value of `condition`; a process and a database have no event to wait for."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} not reached in {seconds} s\n{self.log()}"
            assert not self.services or self.services[-1].process.poll() is None, f"it ended\n{self.log()}"
            time.sleep(0.02)
        return value

    def log(self) -> str:
        """What services wrote."""
        return "\n".join(path.read_text()[-6000:] for path in self.folder.glob("*.log"))


class Service:
    """A running service; a context manager that ends it, and looks that nothing is left."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(argv, env=dict(environment), stdout=output, stderr=output)

    def tree(self) -> list[psutil.Process]:
        """It and all that it started."""
        try:
            me = psutil.Process(self.process.pid)
            return [me, *me.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15.0) -> int:
        """End it, and wait until all that it started is gone."""
        tree = self.tree()
        with open(os.pidfd_open(self.process.pid), "rb") as ended:  # noqa: PTH123
            self.process.send_signal(number)
            assert select.select([ended], [], [], seconds)[0], f"does not end\n{self.log.read_text()[-6000:]}"
        code = self.process.wait()
        _, alive = psutil.wait_procs(tree, timeout=seconds)
        alive = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        assert not alive, f"left behind: {alive}"
        return code

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def archive(files: Mapping[str, str]) -> bytes:
    """A snapshot's archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    return zstd.compress(buffer.getvalue())
