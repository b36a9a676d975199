"""The pod of a task: one template a team, which its KubernetesExecutor fills in."""

from __future__ import annotations

import yaml

from aerodrome.config import SecretPlace, Team
from aerodrome.kubernetes.objects import secrets, settings
from aerodrome.kubernetes.objects.containers import container_security, image_fields, placed, pod_security
from aerodrome.kubernetes.objects.plan import SNAPSHOTS, STATE, Object, Plan
from aerodrome.kubernetes.quantities import mebibytes

COMMAND = ("python", "-m", "aerodrome.airflow.worker")
"""The container's command; the executor gives Airflow's own command line as its arguments."""

GRACE = 60
"""Seconds that an evicted task has to be marked and to keep its log (:mod:`aerodrome.airflow.eviction`)."""

DEFAULT_ACCOUNT = "worker"


def account(team: Team) -> str:
    """The service account of the team's pods."""
    return team.worker.service_account or DEFAULT_ACCOUNT


def config_map(plan: Plan) -> Object:
    """The templates of all teams; the scheduler reads a team's anew for each pod."""
    data = {f"{team.name}.yaml": yaml.safe_dump(template(plan, team), sort_keys=False) for team in plan.config.teams}
    return plan.object("v1", "ConfigMap", plan.name("workers"), "workers", data=data)


def template(plan: Plan, team: Team) -> Object:
    """The pod of a task of `team`. It holds no secret of the platform: no database, no key, no credentials of Git."""
    worker = team.worker
    annotations = {
        # a task that ran for hours is not moved to save a node
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
        **worker.annotations,
    }
    secret_env, secret_mounts, secret_volumes = secrets.mounted(secrets.of_store(plan.config), "store")
    size: Object = {"sizeLimit": mebibytes(worker.snapshots.size)}
    snapshots = {"medium": "Memory", **size} if worker.snapshots.medium == "memory" else size
    container: Object = {
        "name": "base",
        "image": team.image or plan.config.kubernetes.image,
        "imagePullPolicy": plan.config.kubernetes.image_pull_policy,
        "command": list(COMMAND),
        "env": [
            *settings.variables(settings.airflow(plan, "worker", team)),
            *secret_env,
            *(_own(name, worker.env[name]) for name in sorted(worker.env)),
        ],
        "resources": settings.worker_resources(team),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of its own
            {"name": "snapshots", "mountPath": SNAPSHOTS},
            *secret_mounts,
            *(
                {"name": f"own-{volume.name}", "mountPath": volume.mount, "readOnly": volume.read_only}
                for volume in worker.volumes
            ),
        ],
    }
    if team.connections_from is not None:
        container["envFrom"] = [{"secretRef": {"name": team.connections_from.secret}}]
    spec: Object = {
        "serviceAccountName": account(team),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "priorityClassName": f"{plan.config.name}-tasks",
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": pod_security(),
        **image_fields(plan),
        **placed(worker.node_selector, worker.tolerations),
        "containers": [container],
        "volumes": [
            {"name": "state", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "snapshots", "emptyDir": snapshots},
            *secret_volumes,
            *({"name": f"own-{volume.name}", **volume.source} for volume in worker.volumes),
        ],
    }
    metadata = {
        "name": "worker",
        "labels": plan.labels("worker", team),
        "annotations": dict(sorted(annotations.items())),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _own(name: str, value: str | SecretPlace) -> Object:
    if isinstance(value, SecretPlace):
        assert value.secret is not None and value.key is not None
        return secrets.from_secret(name, value.secret, value.key)
    return {"name": name, "value": value.replace("$(", "$$(")}
