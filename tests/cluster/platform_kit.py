"""A platform in the cluster: its configuration, its teams' repositories, and Airflow's API."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import images
import servers
import yaml

from aerodrome.errors import AerodromeError
from aerodrome.local.airflow_api import AirflowApi
from aerodrome.store import Store

DAG = """\
import pathlib
from airflow.sdk import dag, task
import shared

@dag(schedule=None)
def {team}_main():
    @task
    def who():
        return shared.TEAM

    @task
    def say(team):
        print("this is team", team)
        return team

    say(who())

{team}_main()
"""

WORKER = {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}}


class Platform:
    """An installation called `name`; its namespaces are ``name`` and ``name-TEAM``."""

    def __init__(
        self,
        cluster: Any,
        folder: Path,
        name: str,
        *,
        s3: servers.S3,
        https: servers.GitOverHttps,
        ssh: servers.GitOverSsh,
        repositories: Path,
        topology: str,
    ) -> None:
        self.cluster = cluster
        self.folder = folder
        self.name = name
        self._s3, self._https, self._ssh = s3, https, ssh
        self._place = {"endpoint": s3.url, "region": "us-east-1", "allow_http": "true"}
        self._repositories = repositories
        self.topology = topology
        self.image = images.PLATFORM
        self.file = folder / "aerodrome.yaml"
        self.teams: dict[str, servers.Repository] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, str]] = {}
        """The store's keys of each namespace."""
        self.own_secrets: dict[tuple[str, str], dict[str, str]] = {}
        """Secrets of a test's own, by team and name."""
        self._api: AirflowApi | None = None

    # --- configuration ---

    def team(self, name: str, *, ssh: bool = False, **settings: Any) -> servers.Repository:
        """Add a team with a repository; over HTTPS with a token, or over SSH with a key."""
        path = self._repositories / f"{self.name}-{name}.git"
        self.teams[name] = servers.Repository(path)
        if ssh:
            place = {
                "repo": f"{self._ssh.url}{path}",
                "credentials": {
                    "ssh_key": {"secret": "git", "key": "ssh"},
                    "known_hosts": {"secret": "git", "key": "known_hosts"},
                },
            }
        else:
            place = {
                "repo": f"{self._https.url}/{path.name}",
                "credentials": {"token": {"secret": "git", "key": "token"}},
                "ca": {"secret": "git", "key": "ca"},
            }
        self.settings[name] = {
            "name": name,
            **place,
            "dags": "dags",
            "poll": "1s",
            "quota": {"pods": 20},
            "worker": WORKER,
            **settings,
        }
        return self.teams[name]

    def url_with_token(self, team: str) -> str:
        """A team's repository for a client that takes its token nowhere else."""
        return f"{self._https.url_with_token}/{self.name}-{team}.git"

    def write(self, **more: Any) -> None:
        """Write the configuration."""
        small = {"requests": {"cpu": "20m", "memory": "64Mi"}}
        components = ("api_server", "task_api", "scheduler", "processor", "triggerer", "sync", "database", "jobs")
        document = {
            "name": self.name,
            "store": f"s3://{servers.BUCKET}/{self.name}",
            "store_options": {
                **self._place,
                "access_key_id": {"secret": "s3", "key": "id"},
                "secret_access_key": {"secret": "s3", "key": "secret"},
            },
            "database": {"embedded": {"storage": "1Gi", "storage_class": "manual"}},
            "airflow": {"scheduler": {"scheduler_idle_sleep_time": "0.2"}},
            "kubernetes": {
                "topology": self.topology,
                "image": self.image,
                "components": {component: {"resources": small} for component in components},
            },
            "teams": [self.settings[name] for name in self.settings],
            **more,
        }
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run ``aerodrome`` with this configuration. Returns what it printed."""
        return run_aerodrome(self.cluster, *arguments, "-c", str(self.file), code=code)

    def secrets(self) -> None:
        """Make the Secrets that people make: the store's keys in every namespace, Git's in the platform's.

        The keys of a namespace may do what the rendered policy says, and no more.
        """
        rendered = self.folder / "rendered"
        self.run("render", "-o", str(rendered))
        homes = {"platform": self.name, **{f"worker-{team}": f"{self.name}-{team}" for team in self.settings}}
        for policy, namespace in homes.items():
            if namespace not in self.keys:
                text = (rendered / "iam" / f"{policy}.policy").read_text()
                self.keys[namespace] = self._s3.user(namespace, text)
            self.secret(namespace, "s3", self.keys[namespace])
        git = {
            "token": servers.TOKEN,
            "ca": self._https.ca,
            "ssh": self._ssh.client_key,
            "known_hosts": self._ssh.known_hosts,
        }
        self.secret(self.name, "git", git)
        for (team, name), data in self.own_secrets.items():
            self.secret(f"{self.name}-{team}", name, data)

    def store(self, namespace: str) -> Store:
        """The store as the keys of a namespace open it."""
        keys = self.keys[namespace]
        options = {**self._place, "access_key_id": keys["id"], "secret_access_key": keys["secret"]}
        return Store(f"s3://{servers.BUCKET}/{self.name}", options)

    def secret(self, namespace: str, name: str, data: dict[str, str]) -> None:
        """Make a Secret."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": data,
        }
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def up(self) -> None:
        """Apply it: a first time to have namespaces, then the Secrets that people make, then all of it."""
        self.run("apply", code=1)
        self.secrets()
        self.volume()
        self.up_again()

    def up_again(self) -> None:
        """Apply it where its Secrets are there."""
        self.run("apply")
        self._api = None  # the passwords may be others than before

    def volume(self) -> None:
        """A volume for the database, on the first node."""
        self.cluster.kubectl("delete", "pv", f"{self.name}-database", "--ignore-not-found")
        path = Path(tempfile.mkdtemp(prefix="database-", dir=self.folder))
        path.chmod(0o777)
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{self.name}-database"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "manual",
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(path), "type": "Directory"},
            },
        }
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    # --- what runs ---

    @property
    def api(self) -> AirflowApi:
        """Airflow's API, as the administrator, through the UI's Service."""
        if self._api is None:
            found = self.get("secret", f"{self.name}-logins")
            passwords = json.loads(base64.b64decode(found["data"]["passwords.json"]))
            user = next(iter(passwords))
            address = self.get("service", f"{self.name}-api-server")["spec"]["clusterIP"]
            self._api = AirflowApi(8080, user, passwords[user], host=address)
        return self._api

    def get(self, kind: str, name: str = "", namespace: str | None = None, *more: str) -> Any:
        """Objects as the cluster has them."""
        words = [word for word in (name, *more) if word]
        return json.loads(self.cluster.kubectl("-n", namespace or self.name, "get", kind, *words, "-o", "json"))

    def answers(self) -> bool:
        """Whether the UI's API answers."""
        with contextlib.suppress(AerodromeError):
            return bool(self.shown())
        return False

    def shown(self) -> set[str]:
        """The DAGs that the UI lists."""
        answer = self.api._call("GET", "/api/v2/dags?limit=100")
        assert answer is not None
        return {dag["dag_id"] for dag in answer["dags"]}

    def pods(self, team: str) -> list[dict[str, Any]]:
        """The pods of a team's tasks."""
        return list(self.get("pods", "", f"{self.name}-{team}")["items"])

    def pod_of(self, team: str, dag_id: str) -> str:
        """The pod of the one task of a DAG that runs; waits for it."""

        def names() -> list[str]:
            pods = self.pods(team)
            return [p["metadata"]["name"] for p in pods if p["metadata"]["annotations"].get("dag_id") == dag_id]

        (name,) = self.until(names, f"the pod of {dag_id}")
        return str(name)

    def says(self, team: str, pod: str, words: str) -> None:
        """Wait until the pod of a task has said `words`."""
        namespace = f"{self.name}-{team}"

        def said() -> bool:
            with contextlib.suppress(RuntimeError):  # its container has not begun yet
                return words in self.cluster.kubectl("-n", namespace, "logs", pod)
            return False

        self.until(said, f"{pod} says {words!r}")

    def live(self, team: str, dag_id: str, commit: str, seconds: float = 60) -> None:
        """Wait until the commit is live."""
        self.until(
            lambda: (self.api.dag(dag_id) or {}).get("bundle_version") == commit, f"{team} live at {commit}", seconds
        )

    def succeeds(self, dag_id: str, seconds: float = 120, **conf: Any) -> str:
        """Run the DAG to its end. Returns the run's id."""
        run_id = self.api.trigger(dag_id, conf=conf)
        run = self.api.wait(dag_id, run_id, timeout=seconds)
        assert run["state"] == "success", self.report()
        return run_id

    def failures(self, dag_id: str, run_id: str) -> str:
        """The tasks of a run that did not succeed, and what the scheduler said of them."""
        lost = [task for task in self.api.tasks(dag_id, run_id) if task["state"] != "success"]
        lines = [json.dumps(task) for task in lost]
        pods = [pod for pod in self.get("pods")["items"] if "scheduler" in pod["metadata"]["name"]]
        for pod in pods:
            for more in ((), ("--previous",)):
                with contextlib.suppress(RuntimeError):
                    name = pod["metadata"]["name"]
                    log = self.cluster.kubectl("-n", self.name, "logs", name, "-c", "scheduler", *more)
                    lines += [
                        line
                        for line in log.splitlines()
                        for task in lost
                        if dag_id in line and (f"map_index={task['map_index']}," in line or task["id"] in line)
                    ]
        return "\n".join(lines)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait for `condition`."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: not in {seconds:g} s\n{self.report()}"
            time.sleep(0.1)
        return value

    def report(self) -> str:
        """What there is to see when something does not work."""
        lines = [self.cluster.kubectl("get", "pods", "-A", "-o", "wide")]
        for pod in self.get("pods")["items"]:
            name = pod["metadata"]["name"]
            for container in pod["spec"]["containers"]:
                with contextlib.suppress(RuntimeError):  # it has not begun
                    log = self.cluster.kubectl("-n", self.name, "logs", name, "-c", container["name"], "--tail", "12")
                    lines.append(f"--- {name} {container['name']}\n{log}")
        lines += [self.cluster.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp")[-3000:]]
        return "\n".join(lines)[-20000:]


def files(team: str) -> dict[str, str]:
    """A repository of a team: one DAG, and a module whose name every team's has."""
    return {"dags/main.py": DAG.format(team=team), "dags/shared.py": f"TEAM = {team!r}\n"}


def run_aerodrome(cluster: Any, *arguments: str, code: int = 0, timeout: float = 900) -> str:
    """Run ``aerodrome`` as the cluster's administrator. Returns what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AERODROME"))}
    done = subprocess.run(
        [sys.executable, "-m", "aerodrome", *arguments],
        capture_output=True, text=True, timeout=timeout, check=False,
        env={**clean, "KUBECONFIG": str(cluster.kubeconfig)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == code, f"aerodrome {' '.join(arguments)}: exit code {done.returncode}\n{said[-6000:]}"
    assert "Traceback" not in said, said[-6000:]
    return said
