"""Deployments: the containers put into pods, as the topology says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aerodrome.config import Team
from aerodrome.kubernetes.objects import components
from aerodrome.kubernetes.objects.components import POKE_PORT
from aerodrome.kubernetes.objects.containers import Part, placement, pod_spec
from aerodrome.kubernetes.objects.plan import DATABASE_CLIENT, SETTINGS, Object, Plan, digest
from aerodrome.kubernetes.objects.secrets import token_secret

PROCESSOR = "aerodrome/processor"
"""Label of the pods that hold processors, which sync may poke."""

_GRACE = 60
_PROGRESS = 900  # seconds: images of teams are large


def compact(plan: Plan) -> list[Object]:
    """One pod with all of Airflow, and the tokens of those containers that need another account than the pod's."""
    parts = [components.api_server(plan, "api-server", "all", "api-server"), components.scheduler(plan)]
    tokens = []
    for index, team in enumerate(plan.config.teams):
        parts.append(components.processor(plan, team, name=f"processor-{team.name}", port=POKE_PORT + index))
        if team.triggerer:
            account = plan.name("triggerer", team)
            tokens.append(token_secret(plan, account))
            parts.append(components.triggerer(plan, team, name=f"triggerer-{team.name}", token_of=f"{account}-token"))
    labels = {DATABASE_CLIENT: "true", PROCESSOR: "true"}
    return [*tokens, deployment(plan, "platform", parts, labels=labels)]


def split(plan: Plan) -> list[Object]:
    """A Deployment for each component, and one for each team."""
    client = {DATABASE_CLIENT: "true"}
    found = [
        deployment(
            plan, "api-server", [components.api_server(plan, "api-server", "core", "api-server")], labels=client
        ),
        deployment(plan, "task-api", [components.api_server(plan, "task-api", "execution", "task-api")], labels=client),
        deployment(plan, "scheduler", [components.scheduler(plan)], labels=client),
    ]
    for team in plan.config.teams:
        parts = [components.processor(plan, team)]
        if team.triggerer:
            parts.append(components.triggerer(plan, team))
        found.append(deployment(plan, "processor", parts, team=team, labels={**client, PROCESSOR: "true"}))
    return found


def sync(plan: Plan) -> Object:
    """The pod that fetches repositories, the same in both topologies."""
    return deployment(plan, "sync", [components.sync(plan)])


def deployment(
    plan: Plan,
    component: str,
    parts: Sequence[Part],
    *,
    team: Team | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """A Deployment whose new pod is ready before the old one goes: a bad image leaves running what runs."""
    settings = plan.component(component)
    replicas = 1 if settings.replicas is None else settings.replicas
    name = plan.name(component, team)
    reads = {key: value for part in parts for key, value in part.reads.items()}
    annotations = dict(settings.annotations)
    if reads:
        annotations[SETTINGS] = digest(repr(sorted(reads.items())))
    metadata: Object = {"labels": {**plan.labels(component, team), **(labels or {})}}
    if annotations:
        metadata["annotations"] = dict(sorted(annotations.items()))
    selector = {"matchLabels": plan.selector(component, team)}
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    fields = {**placement(settings), **({"topologySpreadConstraints": spread} if replicas > 1 else {})}
    spec = {
        "replicas": replicas,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": _PROGRESS,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": selector,
        "template": {"metadata": metadata, "spec": pod_spec(plan, parts, account=name, grace=_GRACE, **fields)},
    }
    return plan.object("apps/v1", "Deployment", name, component, team=team, spec=spec)


def disruption_budget(plan: Plan, component: str, team: Team | None = None) -> Object:
    """One pod of a component at a time may make way for a node's upkeep; an only one too, or no node ever could go."""
    return plan.object(
        "policy/v1",
        "PodDisruptionBudget",
        plan.name(component, team),
        component,
        team=team,
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": plan.selector(component, team)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
