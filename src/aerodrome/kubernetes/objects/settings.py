"""Airflow's settings of each component in the cluster, on top of those that are the same everywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal

from aerodrome.config import Config, Team
from aerodrome.config.airflow_settings import Role, environment, variable
from aerodrome.kubernetes.objects.containers import resources_of
from aerodrome.kubernetes.objects.plan import SNAPSHOTS, STATE, TEMPLATES, Object, Plan
from aerodrome.kubernetes.quantities import number

NO_EXECUTOR = "aerodrome.airflow.no_executor.NoExecutor"
KUBERNETES_EXECUTOR = "KubernetesExecutor"
API_PORT = 8080
HEALTH_PORT = 8974

_PARALLELISM = 32
_UI_ONLY = (("core", "auth_manager"), ("core", "simple_auth_manager_users"))

WORKER_REQUESTS = {"cpu": "250m", "memory": "384Mi"}
WORKER_LIMITS = {"memory": "1Gi"}


def executor(config: Config) -> str:
    """``[core] executor``: one KubernetesExecutor for each team, and one that runs nothing for work without a team."""
    return ";".join([NO_EXECUTOR, *(f"{team.airflow_name}={KUBERNETES_EXECUTOR}" for team in config.teams)])


def airflow(plan: Plan, role: Role, team: Team | None = None) -> dict[str, str]:
    """The settings of one component; none of them is a secret.

    Args:
        team: whose component it is; it then learns nothing of other teams.
    """
    plan = plan.of_team(team) if team is not None else plan
    config = plan.config
    settings = environment(plan.installation, role, team=team, executor=executor(config))
    if role != "api-server":
        for name in _UI_ONLY:
            settings.pop(variable(*name), None)
    return {**_places(), **_of_role(plan, role), **settings}


def _places() -> dict[str, str]:
    return {
        "HOME": STATE,
        "USER": "airflow",
        "AIRFLOW_HOME": f"{STATE}/airflow",
        "AERODROME_STATE": STATE,
        "AERODROME_CLUSTER": "1",
        "PYTHONUNBUFFERED": "1",
        variable("dag_processor", "dag_bundle_storage_path"): SNAPSHOTS,
        variable("logging", "base_log_folder"): f"{STATE}/logs",
        variable("logging", "dag_processor_child_process_log_directory"): f"{STATE}/logs/parse",
        variable("usage_data_collection", "enabled"): "False",
    }


def _of_role(plan: Plan, role: Role) -> dict[str, str]:
    config = plan.config
    settings: dict[tuple[str, str], object] = {}
    if role in ("scheduler", "worker"):
        settings["core", "execution_api_server_url"] = task_api_url(plan)
    if role == "worker":
        # Airflow's five attempts give a task API up after 15 s on average (the waits are random), and with it the task.
        # A pod that is replaced on a busy node takes longer; these last for two minutes.
        settings["workers", "execution_api_retries"] = 20
        settings["workers", "execution_api_retry_wait_max"] = 15
    if role == "scheduler":
        settings["scheduler", "enable_health_check"] = True
        settings["scheduler", "scheduler_health_check_server_port"] = HEALTH_PORT
        settings["core", "parallelism"] = sum(slots(config, team) for team in config.teams) or 1
    if role in ("api-server", "scheduler"):
        # the UI's own address, for links in notifications too
        ingress = config.kubernetes.ingress
        if ingress is not None:
            settings["api", "base_url"] = f"http{'s' if ingress.tls_secret else ''}://{ingress.host}"
    return {variable(*name): str(value) for name, value in settings.items()}


def task_api_url(plan: Plan) -> str:
    """Where workers reach the task API."""
    return f"http://{plan.name('task-api')}.{plan.namespace}.svc:{API_PORT}/execution/"


def of_executors(plan: Plan) -> dict[str, str]:
    """The settings of each team's KubernetesExecutor. They do not inherit: a team falls back to Airflow's defaults."""
    settings: dict[str, str] = {}
    for team in plan.config.teams:
        prefix = f"AIRFLOW__{team.airflow_name.upper()}___"
        for name, value in _of_executor(plan.config, team).items():
            settings[f"{prefix}KUBERNETES_EXECUTOR__{name.upper()}"] = value
        settings[f"{prefix}CORE__PARALLELISM"] = str(slots(plan.config, team))
    return settings


def _of_executor(config: Config, team: Team) -> dict[str, str]:
    delete = team.worker.delete_pods
    return {
        "namespace": team.namespace,
        "pod_template_file": f"{TEMPLATES}/{team.name}.yaml",
        # one pod a loop and one after the other are the defaults: 1.1 pods a second
        "worker_pods_creation_batch_size": "16",
        "async_pod_creation": "True",
        # 429, 5xx, a quota that is full for the moment: never a failed task. -1 is without an end.
        "task_publish_max_retries": "-1",
        "delete_worker_pods": str(delete != "never"),
        "delete_worker_pods_on_failure": str(delete == "always"),
        # a request that is never answered must not stop the scheduler
        "kube_client_request_args": json.dumps({"_request_timeout": [10, 60]}),
    }


def slots(config: Config, team: Team) -> int:
    """How many tasks of `team` run at once: what its quota holds, less what other pods of the team need.

    A quarter of the quota stays for pods that tasks start themselves (KubernetesPodOperator), and standby pods are
    counted, so that a task never waits for a pod that the quota refuses: it stays scheduled, where nothing times out.
    """
    total = int(config.airflow.get("core", {}).get("parallelism", _PARALLELISM))
    fits = pods_in_quota(team)
    if fits is None:
        return max(1, total)
    return max(1, min(total, fits - math.ceil(fits / 4) - team.worker.standby))


def pods_in_quota(team: Team) -> int | None:
    """How many worker pods the quota of `team` holds; None without a quota."""
    requests = worker_resources(team).get("requests", {})
    found: list[int] = [] if team.quota.pods is None else [team.quota.pods]
    for resource, total in (("cpu", team.quota.cpu), ("memory", team.quota.memory)):
        each = number(requests.get(resource, "0"))
        if total is not None and each > Decimal(0):
            found.append(int(number(total) / each))
    return min(found) if found else None


def worker_resources(team: Team) -> Mapping[str, Mapping[str, str]]:
    """Resources of the container that runs a task."""
    return resources_of(team.worker.resources, WORKER_REQUESTS, _worker_limits(team))


def _worker_limits(team: Team) -> dict[str, str]:
    snapshots = team.worker.snapshots
    if snapshots.medium != "memory":
        return WORKER_LIMITS
    # files in a memory-backed volume count as the container's memory
    return {"memory": f"{int(number(WORKER_LIMITS['memory']) + snapshots.size) >> 20}Mi"}


def variables(settings: Mapping[str, str]) -> list[Object]:
    """`settings` as environment variables of a container, sorted by name."""
    # $(NAME) would be replaced by Kubernetes
    return [{"name": name, "value": settings[name].replace("$(", "$$(")} for name in sorted(settings)]
