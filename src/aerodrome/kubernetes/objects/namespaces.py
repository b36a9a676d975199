"""Namespaces, and in each team's: what its pods may use together, and what a pod gets that asks for nothing."""

from __future__ import annotations

from aerodrome.config import Team
from aerodrome.kubernetes.objects import settings
from aerodrome.kubernetes.objects.plan import Object, Plan

POD_SECURITY = "pod-security.kubernetes.io"


def namespace(plan: Plan, team: Team | None = None) -> Object:
    """The platform's namespace, or a team's; only pods under Pod Security "restricted" start in it."""
    found = plan.object(
        "v1", "Namespace", team.namespace if team else plan.namespace, "namespace", team=team, namespace=None
    )
    for mode in ("enforce", "audit", "warn"):
        found["metadata"]["labels"][f"{POD_SECURITY}/{mode}"] = "restricted"
    return found


def quota(plan: Plan, team: Team) -> Object:
    """What the team's pods may use together; by default twice the pods of its tasks, for those that tasks start."""
    hard = {"pods": str(team.quota.pods or 2 * (settings.slots(plan.config, team) + team.worker.standby))}
    if team.quota.cpu is not None:
        hard["requests.cpu"] = team.quota.cpu
    if team.quota.memory is not None:
        hard["requests.memory"] = team.quota.memory
    return plan.object(
        "v1",
        "ResourceQuota",
        plan.name("quota"),
        "quota",
        team=team,
        namespace=team.namespace,
        spec={"hard": dict(sorted(hard.items()))},
    )


def limit_range(plan: Plan, team: Team) -> Object:
    """Defaults for containers that say nothing (of KubernetesPodOperator), without which a quota would refuse them."""
    default = {
        "type": "Container",
        "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
        "default": {"memory": "512Mi"},
    }
    return plan.object(
        "v1",
        "LimitRange",
        plan.name("defaults"),
        "quota",
        team=team,
        namespace=team.namespace,
        spec={"limits": [default]},
    )


def priority_classes(plan: Plan) -> list[Object]:
    """The platform before tasks: without it no task can report. No task drives another pod away."""
    found = []
    for name, value, policy, words in (
        ("platform", 1_000_000, "PreemptLowerPriority", "Aerodrome's own components"),
        ("tasks", 0, "Never", "pods of Aerodrome's tasks"),
    ):
        made = plan.object(
            "scheduling.k8s.io/v1", "PriorityClass", f"{plan.config.name}-{name}", "priority", namespace=None
        )
        found.append({**made, "value": value, "preemptionPolicy": policy, "globalDefault": False, "description": words})
    return found
