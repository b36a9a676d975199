"""The platform's containers: Airflow's components, sync, and for each team its processor and triggerer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aerodrome.config import Team
from aerodrome.config.airflow_settings import Role, variable
from aerodrome.kubernetes.objects import documents, secrets, settings
from aerodrome.kubernetes.objects.containers import Part, container_security, http_probe, resources_of, scratch
from aerodrome.kubernetes.objects.plan import CONFIG_FILE, SNAPSHOTS, STATE, TEMPLATES, Object, Plan
from aerodrome.secrets import SecretPlace

Apps = Literal["all", "core", "execution"]

POKE_PORT = 7400
"""UDP; in the compact topology each team's processor has one of its own, from this number on."""

_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where Kubernetes' clients look for it
_TOKEN_SECONDS = 3607

_WAIT: Object = {"name": "wait", "emptyDir": {"sizeLimit": "256Mi"}}


def container(
    plan: Plan,
    name: str,
    command: Sequence[str],
    *,
    component: str,
    image: str | None = None,
    env: Sequence[Object] = (),
    requests: Mapping[str, str],
    limits: Mapping[str, str],
    mounts: Sequence[Object] = (),
    **fields: Any,
) -> Object:
    """A container of the platform."""
    found: Object = {
        "name": name,
        "image": image or plan.config.kubernetes.image,
        "imagePullPolicy": plan.config.kubernetes.image_pull_policy,
        "command": list(command),
        "env": list(env),
        "resources": resources_of(plan.component(component).resources, requests, limits),
        "securityContext": container_security(),
        # what a container said last is its message when it ends without writing one
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": list(mounts),
        **fields,
    }
    return {key: value for key, value in found.items() if value != []}


def airflow_env(
    plan: Plan, role: Role, team: Team | None = None, extra: Mapping[str, str] | None = None
) -> list[Object]:
    """The settings of a component as variables, without any secret."""
    return settings.variables({**settings.airflow(plan, role, team), **(extra or {})})


def api_server(plan: Plan, name: str, apps: Apps, component: str) -> Part:
    """Airflow's api-server: the UI and its API (core), the API that tasks talk to (execution), or both."""
    own, volumes = scratch(name)
    key = secrets.UI_KEY if apps == "core" else secrets.TASK_KEY
    key_env, key_mount, key_volume = secrets.signing_key(plan, key, name)
    secret_env, secret_mounts, secret_volumes = secrets.mounted(secrets.of_store(plan.config), name)
    init: list[Object] = []
    extra: dict[str, str] = {}
    mounts = [*own, key_mount, *secret_mounts]
    volumes = [*volumes, key_volume, *secret_volumes]
    if plan.config.auth.manager is None and apps != "execution":
        extra[variable("core", "simple_auth_manager_passwords_file")] = f"{secrets.LOGINS_FOLDER}/{secrets.PASSWORDS}"
        copy, copied = _logins(plan)
        init.append(copy)
        volumes += copied
        mounts.append({"name": "logins", "mountPath": secrets.LOGINS_FOLDER})
    ingress = plan.config.kubernetes.ingress is not None and apps != "execution"
    health = "/execution/health" if apps == "execution" else "/api/v2/monitor/health"
    body = container(
        plan,
        name,
        [
            *("python", "-m", "aerodrome.airflow.component", "api-server"),
            *("--host", "0.0.0.0", "--port", str(settings.API_PORT)),  # noqa: S104
            *(("--apps", apps) if apps != "all" else ()),
            *(("--proxy-headers",) if ingress else ()),
        ],
        component=component,
        env=[
            *airflow_env(plan, "api-server", extra=extra),
            secrets.database_url(plan),
            secrets.fernet_key(plan),
            secrets.api_secret(plan),
            key_env,
            *secret_env,
        ],
        requests={"cpu": "100m", "memory": "320Mi"},
        limits={"memory": "1Gi"},
        mounts=mounts,
        ports=[{"name": "http", "containerPort": settings.API_PORT}],
        # a pod that ends is taken out of its Service meanwhile; without this, requests are refused at each replacement
        lifecycle={"preStop": {"exec": {"command": ["sleep", "5"]}}},
        startupProbe=http_probe(health, settings.API_PORT, periodSeconds=2, failureThreshold=90),
        readinessProbe=http_probe(health, settings.API_PORT, periodSeconds=5, failureThreshold=3),
        livenessProbe=http_probe(health, settings.API_PORT, periodSeconds=20, failureThreshold=6),
    )
    return Part(body, [*volumes, _WAIT], [*init, database_is_ready(plan)])


def scheduler(plan: Plan) -> Part:
    """Airflow's scheduler with an executor for each team. It alone may create pods."""
    name = "scheduler"
    own, volumes = scratch(name)
    key_env, key_mount, key_volume = secrets.signing_key(plan, secrets.TASK_KEY, name)
    secret_env, secret_mounts, secret_volumes = secrets.mounted(secrets.of_store(plan.config), name)
    token_mount, token_volume = token(name)
    teams = len(plan.config.teams)
    body = container(
        plan,
        name,
        ["python", "-m", "aerodrome.airflow.component", "scheduler", "--skip-serve-logs"],
        component="scheduler",
        env=[
            *airflow_env(plan, "scheduler", extra=settings.of_executors(plan)),
            secrets.database_url(plan),
            secrets.fernet_key(plan),
            key_env,
            *secret_env,
        ],
        # each team's executor has three processes of its own
        requests={"cpu": "200m", "memory": f"{256 + 64 * teams}Mi"},
        limits={"memory": f"{768 + 256 * teams}Mi"},
        mounts=[
            *own,
            key_mount,
            token_mount,
            {"name": "workers", "mountPath": TEMPLATES, "readOnly": True},
            *secret_mounts,
        ],
        startupProbe=http_probe("/health", settings.HEALTH_PORT, periodSeconds=2, failureThreshold=90),
        # the scheduler's heartbeat in the database: one that hangs or has died is not ready
        readinessProbe=http_probe("/health", settings.HEALTH_PORT, periodSeconds=10, failureThreshold=3),
        livenessProbe=http_probe("/health", settings.HEALTH_PORT, periodSeconds=20, failureThreshold=6),
    )
    # the templates are read anew for each pod: a change of them replaces nothing
    templates = {"name": "workers", "configMap": {"name": plan.name("workers")}}
    found = [*volumes, _WAIT, key_volume, token_volume, templates, *secret_volumes]
    return Part(body, found, [database_is_ready(plan)])


def processor(plan: Plan, team: Team, *, name: str = "processor", port: int = POKE_PORT) -> Part:
    """The processor of a team, in the team's image."""
    text = documents.for_team(plan, team)
    config_mount, config_volume, reads = documents.mount(plan, "team", text, team)
    own, volumes = scratch(name)
    secret_env, secret_mounts, secret_volumes = secrets.mounted(secrets.of_store(plan.config), name)
    gate = team.gate.memory >> 20
    body = container(
        plan,
        name,
        [
            *("aerodrome", "processor", "--team", team.name, "-c", CONFIG_FILE),
            *("--listen", f"0.0.0.0:{port}"),
        ],
        component="processor",
        image=team.image,
        env=[
            *airflow_env(plan, "processor", team),
            secrets.database_url(plan),
            secrets.fernet_key(plan),
            *secret_env,
        ],
        envFrom=_connections(team),
        requests={"cpu": "100m", "memory": "256Mi"},
        # two files are parsed at once, each within the gate's limit
        limits={"memory": f"{512 + 2 * gate}Mi"},
        mounts=[*own, snapshots(name)[0], config_mount, *secret_mounts],
        ports=[{"name": "poke", "containerPort": port, "protocol": "UDP"}],
    )
    found = [*volumes, _WAIT, snapshots(name)[1], config_volume, *secret_volumes]
    return Part(body, found, [database_is_ready(plan)], reads)


def triggerer(plan: Plan, team: Team, *, name: str = "triggerer", token_of: str | None = None) -> Part:
    """The triggerer of a team, in the team's image; it may read the pods of the team's namespace.

    Args:
        token_of: the Secret with the token of its service account, where the pod runs under another one.
    """
    text = documents.for_team(plan, team)
    config_mount, config_volume, reads = documents.mount(plan, "team", text, team)
    own, volumes = scratch(name)
    secret_env, secret_mounts, secret_volumes = secrets.mounted(secrets.of_store(plan.config), name)
    token_mount, token_volume = token(name, token_of)
    body = container(
        plan,
        name,
        ["aerodrome", "triggerer", "--team", team.name, "-c", CONFIG_FILE],
        component="triggerer",
        image=team.image,
        env=[
            *airflow_env(plan, "triggerer", team),
            secrets.database_url(plan),
            secrets.fernet_key(plan),
            *secret_env,
        ],
        envFrom=_connections(team),
        requests={"cpu": "50m", "memory": "256Mi"},
        limits={"memory": "768Mi"},
        mounts=[*own, snapshots(name)[0], config_mount, token_mount, *secret_mounts],
    )
    found = [*volumes, _WAIT, snapshots(name)[1], config_volume, token_volume, *secret_volumes]
    return Part(body, found, [database_is_ready(plan)], reads)


def sync(plan: Plan) -> Part:
    """The service that fetches all repositories. It alone holds Git's credentials."""
    name = "sync"
    text = documents.for_sync(plan)
    config_mount, config_volume, reads = documents.mount(plan, name, text)
    own, volumes = scratch(name, "20Gi")
    secret_env, secret_mounts, secret_volumes = secrets.mounted(_of_sync(plan), name)
    pokes = [
        word
        for team in plan.config.teams
        for word in ("--poke", f"{team.name}={plan.name('processor', team)}.{plan.namespace}.svc:{POKE_PORT}")
    ]
    plain = {"HOME": STATE, "AERODROME_STATE": STATE, "PYTHONUNBUFFERED": "1"}
    body = container(
        plan,
        name,
        ["aerodrome", "sync", "-c", CONFIG_FILE, *pokes],
        component="sync",
        image=plan.config.kubernetes.image_of_sync,
        env=[*settings.variables(plain), *secret_env],
        requests={"cpu": "50m", "memory": "128Mi"},
        limits={"memory": "1Gi"},
        mounts=[*own, config_mount, *secret_mounts],
    )
    return Part(body, [*volumes, config_volume, *secret_volumes], (), reads)


def program(plan: Plan, name: str, *command: str) -> Part:
    """A program that changes the database and ends: ``python -m`` `command`."""
    own, volumes = scratch(name)
    secret_env, secret_mounts, secret_volumes = secrets.mounted(secrets.of_store(plan.config), name)
    body = container(
        plan,
        name,
        ["python", "-m", *command],
        component="jobs",
        env=[
            # an auth manager may have tables of its own
            *airflow_env(plan, "scheduler", extra=_auth_manager(plan)),
            secrets.database_url(plan),
            secrets.fernet_key(plan),
            *secret_env,
        ],
        requests={"cpu": "100m", "memory": "256Mi"},
        limits={"memory": "1Gi"},
        mounts=[*own, *secret_mounts],
    )
    return Part(body, [*volumes, *secret_volumes])


def database_is_ready(plan: Plan) -> Object:
    """Waits until the database has the schema of this image, so that objects may be applied in any order."""
    name = "wait-for-database"
    return container(
        plan,
        name,
        ["airflow", "db", "check-migrations", "--migration-wait-timeout", "600"],
        component="jobs",
        env=[
            *settings.variables(
                {
                    "HOME": "/tmp",  # noqa: S108
                    "USER": "airflow",
                    "AIRFLOW_HOME": "/tmp/airflow",  # noqa: S108
                    variable("core", "load_examples"): "False",
                    **_auth_manager(plan),
                }
            ),
            secrets.database_url(plan),
        ],
        requests={"cpu": "100m", "memory": "256Mi"},
        limits={"memory": "1Gi"},
        mounts=[{"name": _WAIT["name"], "mountPath": "/tmp"}],  # noqa: S108
    )


def token(container: str, secret: str | None = None) -> tuple[Object, Object]:
    """The token of a service account in one container only: mount and volume."""
    volume = f"token-{container}"
    mount = {"name": volume, "mountPath": _TOKEN, "readOnly": True}
    if secret is not None:
        return mount, {"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources: list[Object] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return mount, {"name": volume, "projected": {"defaultMode": 0o440, "sources": sources}}


def snapshots(container: str) -> tuple[Object, Object]:
    """Where a service unpacks its team's snapshots, several of them: mount and volume."""
    volume = f"snapshots-{container}"
    return {"name": volume, "mountPath": SNAPSHOTS}, {"name": volume, "emptyDir": {"sizeLimit": "10Gi"}}


def _connections(team: Team) -> list[Object]:
    """The team's own connections and variables; a copy of the Secret in the platform's namespace is a choice."""
    if team.connections_from is None:
        return []
    return [{"secretRef": {"name": team.connections_from.secret, "optional": True}}]


def _of_sync(plan: Plan) -> list[SecretPlace]:
    places = list(secrets.of_store(plan.config))
    for where, place in plan.config.places():
        parts = where.split(".")
        if parts[0] == "sync" or (parts[0] == "teams" and parts[2] in ("credentials", "ca")):
            places.append(place)
    return places


def _auth_manager(plan: Plan) -> dict[str, str]:
    manager = plan.config.auth.manager
    return {variable("core", "auth_manager"): manager} if manager is not None else {}


def _logins(plan: Plan) -> tuple[Object, list[Object]]:
    """Airflow opens the file of passwords for writing, and a Secret can not be written to: a copy in memory."""
    source = "/run/aerodrome/logins-secret"
    body = container(
        plan,
        "copy-logins",
        ["install", "-m", "0600", f"{source}/{secrets.PASSWORDS}", f"{secrets.LOGINS_FOLDER}/{secrets.PASSWORDS}"],
        component="jobs",
        requests={"cpu": "10m", "memory": "16Mi"},
        limits={"memory": "64Mi"},
        mounts=[
            {"name": "logins", "mountPath": secrets.LOGINS_FOLDER},
            {"name": "logins-secret", "mountPath": source, "readOnly": True},
        ],
    )
    return body, [
        {"name": "logins", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "logins-secret", "secret": {"secretName": plan.name(secrets.LOGINS), "defaultMode": 0o440}},
    ]
