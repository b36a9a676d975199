"""Airflow as its documentation puts it on Kubernetes: KubernetesExecutor and GitDagBundle, all else at its default.

The same image as the platform's, with git added; its four components are one pod, as in the ``compact`` topology.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import platform_kit
import yaml

from aerodrome.local.airflow_api import AirflowApi

NAMESPACE = "stock"
IMAGE = "localhost/aerodrome-stock:test"


class Stock:
    """Airflow without teams.

    Args:
        repository: where Git finds the DAGs, below ``dags``; with credentials.
        bundle: the bundle's name.
    """

    namespace = NAMESPACE

    def __init__(self, cluster: Any, repository: str, bundle: str) -> None:
        self._cluster = cluster
        password = secrets.token_urlsafe(16)
        self.fernet_key = "c3RvY2sgc3RvY2sgc3RvY2sgc3RvY2sgc3RvY2sgc3Q="
        self.database_url = f"postgresql://airflow:{password}@stock-database.stock.svc:5432/airflow?sslmode=disable"
        for entry in self._manifests(repository, bundle, password):
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps(entry))
        cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/stock", "--timeout=240s")
        service = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "service", "stock", "-o", "json"))
        self.api = AirflowApi(8080, host=service["spec"]["clusterIP"])

    def pods(self) -> list[Any]:
        """Pods of tasks."""
        words = ("get", "pods", "-l", "kubernetes_executor=True", "-o", "json")
        return list(json.loads(self._cluster.kubectl("-n", NAMESPACE, *words))["items"])

    def _manifests(self, repository: str, bundle: str, password: str) -> Iterator[dict[str, Any]]:
        namespace = {"namespace": NAMESPACE}
        configured = {
            "name": bundle,
            "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
            "kwargs": {"repo_url": repository, "tracking_ref": "main", "subdir": "dags"},
        }
        environment = {
            "AIRFLOW_HOME": "/var/lib/aerodrome/airflow",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://stock.stock.svc:8080/execution/",
            "AIRFLOW__CORE__FERNET_KEY": self.fernet_key,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database_url,
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([configured]),
            "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": "stock",
            "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": "/template/pod.yaml",
            "GIT_SSL_NO_VERIFY": "1",
        }
        env = [{"name": name, "value": value} for name, value in environment.items()]
        common = {"image": IMAGE, "imagePullPolicy": "IfNotPresent", "env": env}
        base = {"name": "base", **common, "resources": platform_kit.WORKER["resources"]}
        worker = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "worker"},
            "spec": {"restartPolicy": "Never", "containers": [base]},
        }
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stock"}}
        rules = [{"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["*"]}]
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "pods", **namespace},
            "rules": rules,
        }
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "pods", **namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "stock"}],
        }
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "template", **namespace},
            "data": {"pod.yaml": yaml.safe_dump(worker)},
        }
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", **namespace},
            "stringData": {"password": password},
        }
        for name, port in (("stock", 8080), ("stock-database", 5432)):
            yield {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, **namespace},
                "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
            }
        server = {
            "name": "database",
            "image": IMAGE,
            "command": ["python", "-m", "aerodrome.kubernetes.database_server", "--data", "/data", "--port", "5432"],
            "env": [{"name": "AERODROME_DATABASE_PASSWORD", "value": "/password/password"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "password", "mountPath": "/password"}],
            "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 2},
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        }
        volumes = [{"name": "data", "emptyDir": {}}, {"name": "password", "secret": {"secretName": "database"}}]
        yield _deployment("stock-database", [server], volumes)
        mounts = [{"name": "template", "mountPath": "/template"}]
        # what Aerodrome asks for by default for the same components
        requests = {"api-server": "100m", "scheduler": "200m", "processor": "100m", "triggerer": "50m"}
        containers = [
            {
                "name": name,
                **common,
                "command": ["airflow", {"processor": "dag-processor"}.get(name, name)],
                "volumeMounts": mounts,
                "resources": {"requests": {"cpu": cpu, "memory": "256Mi"}},
            }
            for name, cpu in requests.items()
        ]
        containers[0]["readinessProbe"] = {
            "httpGet": {"path": "/api/v2/monitor/health", "port": 8080},
            "periodSeconds": 3,
            "failureThreshold": 60,
        }
        migrate = {
            "name": "migrate",
            **common,
            "command": ["sh", "-c", "until airflow db migrate; do sleep 2; done"],
        }
        yield _deployment("stock", containers, [{"name": "template", "configMap": {"name": "template"}}], [migrate])


def _deployment(
    name: str, containers: list[dict[str, Any]], volumes: list[dict[str, Any]], init: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "securityContext": {"fsGroup": 50000},
                    "containers": containers,
                    "initContainers": init or [],
                    "volumes": volumes,
                },
            },
        },
    }
