"""The embedded database: PostgreSQL out of the platform's own image, with a volume that stays."""

from __future__ import annotations

from aerodrome.kubernetes.objects import secrets
from aerodrome.kubernetes.objects.components import container
from aerodrome.kubernetes.objects.containers import Part, placement, pod_spec, scratch
from aerodrome.kubernetes.objects.network import DATABASE_PORT, service
from aerodrome.kubernetes.objects.plan import Object, Plan

_FOLDER = "/var/lib/aerodrome-database"
_PROGRAM = ("python", "-m", "aerodrome.kubernetes.database_server")
_CONNECTIONS = 100
_CONNECTIONS_OF_TEAM = 20
_GRACE = 90


def objects(plan: Plan) -> list[Object]:
    """The database's service and its StatefulSet; nothing when the database is elsewhere."""
    if plan.config.database.url is not None:
        return []
    return [
        service(plan, "database", plan.selector("database"), DATABASE_PORT, name="postgresql", clusterIP="None"),
        _stateful_set(plan),
    ]


def connections(plan: Plan) -> int:
    """How many connections the server takes: each of Airflow's processes keeps a pool."""
    return _CONNECTIONS + _CONNECTIONS_OF_TEAM * len(plan.config.teams)


def _stateful_set(plan: Plan) -> Object:
    name = plan.name("database")
    embedded = plan.config.database.embedded
    own, volumes = scratch("database")
    probe = {"exec": {"command": [*_PROGRAM, "--ready"]}, "timeoutSeconds": 10}
    body = container(
        plan,
        "database",
        [*_PROGRAM, "--data", _FOLDER, "--port", str(DATABASE_PORT)],
        component="database",
        env=[
            {"name": "AERODROME_DATABASE_CONNECTIONS", "value": str(_connections_rounded(plan))},
            {"name": "AERODROME_DATABASE_PASSWORD", "value": "/run/aerodrome/database/password"},
        ],
        requests={"cpu": "100m", "memory": "256Mi"},
        limits={"memory": "1Gi"},
        mounts=[
            *own,
            {"name": "data", "mountPath": _FOLDER},
            {"name": "password", "mountPath": "/run/aerodrome/database", "readOnly": True},
        ],
        ports=[{"name": "postgresql", "containerPort": DATABASE_PORT}],
        startupProbe={**probe, "periodSeconds": 2, "failureThreshold": 150},
        readinessProbe={**probe, "periodSeconds": 10, "failureThreshold": 3},
        livenessProbe={"tcpSocket": {"port": DATABASE_PORT}, "periodSeconds": 20, "failureThreshold": 6},
    )
    # only the password: the URL beside it in the Secret is for the clients
    password = {
        "name": "password",
        "secret": {
            "secretName": plan.name(secrets.DATABASE),
            "items": [{"key": "password", "path": "password"}],
            "defaultMode": 0o440,
        },
    }
    settings = plan.component("database")
    fields = placement(settings)
    claim: Object = {
        "metadata": {"name": "data", "labels": plan.selector("database")},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": embedded.storage}},
            **({"storageClassName": embedded.storage_class} if embedded.storage_class is not None else {}),
        },
    }
    metadata: Object = {"labels": plan.labels("database")}
    if settings.annotations:
        metadata["annotations"] = dict(sorted(settings.annotations.items()))
    spec = {
        "serviceName": name,
        "replicas": 1,
        # with the default, a pod that can not start (a wrong image) is not replaced when that is mended
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": plan.selector("database")},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": {
            "metadata": metadata,
            "spec": pod_spec(plan, [Part(body, [*volumes, password])], account=name, grace=_GRACE, **fields),
        },
        "volumeClaimTemplates": [claim],
    }
    return plan.object("apps/v1", "StatefulSet", name, "database", spec=spec)


def _connections_rounded(plan: Plan) -> int:
    # a new team must not restart the database each time
    return -(-connections(plan) // 200) * 200
