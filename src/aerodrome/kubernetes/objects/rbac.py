"""Service accounts, and the few rights that some of them have: each in a team's namespace only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aerodrome.config import Team
from aerodrome.kubernetes.objects import worker
from aerodrome.kubernetes.objects.plan import Object, Plan

Rule = dict[str, Any]


def _rule(resources: Sequence[str], verbs: Sequence[str]) -> Rule:
    return {"apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}


CREATES_PODS = (_rule(["pods"], ["create", "delete", "get", "list", "patch", "watch"]),)
"""Of the scheduler: pods of tasks, made, watched, taken up again after a restart, deleted."""

READS_PODS = (
    _rule(["pods"], ["get", "list", "watch"]),
    _rule(["pods/log"], ["get"]),
    _rule(["events"], ["get", "list", "watch"]),
)
"""Of the team's triggerer: a deferred KubernetesPodOperator waits for its pod."""

OPERATES_PODS = (
    _rule(["pods"], ["create", "delete", "get", "list", "patch", "watch"]),
    _rule(["pods/log"], ["get"]),
    # the result of a pod is read out of it
    _rule(["pods/exec"], ["create", "get"]),
    _rule(["events"], ["get", "list", "watch"]),
)
"""Of the team's own pods, of those that ask for a token: KubernetesPodOperator."""


def platform_account(plan: Plan, component: str, team: Team | None = None) -> Object:
    """The service account of a component."""
    annotations = plan.component(component).service_account_annotations
    return _account(plan, plan.name(component, team), component, plan.namespace, team, annotations)


def default_account(plan: Plan) -> Object:
    """The service account of pods that name none: without a token."""
    return _account(plan, "default", "platform", plan.namespace, None, {})


def team_accounts(plan: Plan, team: Team) -> list[Object]:
    """The service accounts of a team's namespace: Kubernetes' own, which gets no token, and that of the tasks."""
    default = _account(plan, "default", "worker", team.namespace, team, {})
    tasks = _account(
        plan, worker.account(team), "worker", team.namespace, team, team.worker.service_account_annotations
    )
    return [default, tasks] if worker.account(team) != "default" else [tasks]


def _account(
    plan: Plan, name: str, component: str, namespace: str, team: Team | None, annotations: dict[str, str]
) -> Object:
    return plan.object(
        "v1",
        "ServiceAccount",
        name,
        component,
        team=team,
        namespace=namespace,
        annotations=annotations,
        automountServiceAccountToken=False,
    )


def roles(plan: Plan, team: Team, *, scheduler: str, triggerer: str | None) -> list[Object]:
    """What may be done in the namespace of `team`, and by whom.

    Args:
        scheduler: service account of the scheduler, in the platform's namespace.
        triggerer: that of the team's triggerer, if it has one.
    """
    grants: list[tuple[str, Sequence[Rule], str, str]] = [("scheduler", CREATES_PODS, scheduler, plan.namespace)]
    if triggerer is not None:
        grants.append(("triggerer", READS_PODS, triggerer, plan.namespace))
    grants.append(("tasks", OPERATES_PODS, worker.account(team), team.namespace))
    found: list[Object] = []
    for component, rules, account, namespace in sorted(grants, key=lambda grant: grant[0]):
        name = plan.name(component)
        place: dict[str, Any] = {"team": team, "namespace": team.namespace}
        found.append(plan.object("rbac.authorization.k8s.io/v1", "Role", name, component, **place, rules=list(rules)))
        found.append(
            plan.object(
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                name,
                component,
                **place,
                roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                subjects=[{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            )
        )
    return found
