"""Services, Ingress and network policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aerodrome.config import Team
from aerodrome.kubernetes.objects.components import POKE_PORT
from aerodrome.kubernetes.objects.plan import DATABASE_CLIENT, INSTANCE, Object, Plan
from aerodrome.kubernetes.objects.settings import API_PORT

DATABASE_PORT = 5432

# Where clouds hand identities to whoever asks; the third is Alibaba's, the last AWS's on IPv6.
_METADATA_V4 = ("169.254.0.0/16", "100.100.100.200/32")
_METADATA_V6 = ("fd00:ec2::/32", "fe80::/10")
_IDENTITY: dict[str, tuple[tuple[str, int], ...]] = {
    "gke": (("169.254.169.252/32", 988), ("169.254.169.254/32", 80)),
    "eks-pod": (("169.254.170.23/32", 80),),
    "blocked": (),
}


def service(
    plan: Plan,
    component: str,
    selector: Mapping[str, str],
    port: int,
    *,
    team: Team | None = None,
    target: int | None = None,
    name: str = "http",
    protocol: str = "TCP",
    **fields: Any,
) -> Object:
    """A Service in the platform's namespace."""
    entry = {"name": name, "port": port, "targetPort": target or port, "protocol": protocol}
    spec = {"selector": dict(selector), "ports": [entry], **fields}
    return plan.object("v1", "Service", plan.name(component, team), component, team=team, spec=spec)


def ingress(plan: Plan) -> list[Object]:
    """The way from outside to the UI, on request. The task API has none: workers are inside."""
    wanted = plan.config.kubernetes.ingress
    if wanted is None:
        return []
    backend = {"service": {"name": plan.name("api-server"), "port": {"name": "http"}}}
    spec: Object = {}
    if wanted.ingress_class is not None:
        spec["ingressClassName"] = wanted.ingress_class
    if wanted.tls_secret is not None:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret}]
    paths = [
        # both apps answer at one port in the compact topology, and the tasks' one is nobody's business outside
        {"path": "/", "pathType": "Prefix", "backend": backend},
    ]
    spec["rules"] = [{"host": wanted.host, "http": {"paths": paths}}]
    return [
        plan.object(
            "networking.k8s.io/v1",
            "Ingress",
            plan.name("api-server"),
            "api-server",
            annotations=wanted.annotations,
            spec=spec,
        )
    ]


def platform_policies(plan: Plan, *, task_api: Mapping[str, str], ui: Mapping[str, str]) -> list[Object]:
    """Who may reach what in the platform's namespace; all the rest may not.

    Args:
        task_api, ui: labels of the pods that serve the two.
    """
    mine = {"namespaceSelector": {"matchLabels": {INSTANCE: plan.config.name}}}
    found = [
        _policy(plan, "default", {}, ingress=[], egress=_outward(plan)),
        # an ingress controller lives in a namespace of its own, whose name nobody here knows
        _policy(plan, "api-server", ui, ingress=[{"ports": [_tcp(API_PORT)]}]),
        _policy(plan, "task-api", task_api, ingress=[{"from": [mine], "ports": [_tcp(API_PORT)]}]),
    ]
    if plan.config.database.url is None:
        clients = {"podSelector": {"matchLabels": {DATABASE_CLIENT: "true"}}}
        found.append(
            _policy(
                plan,
                "database",
                plan.selector("database"),
                ingress=[{"from": [clients], "ports": [_tcp(DATABASE_PORT)]}],
            )
        )
    last = POKE_PORT + max(0, len(plan.config.teams) - 1)
    poke: Object = {"protocol": "UDP", "port": POKE_PORT, **({"endPort": last} if last > POKE_PORT else {})}
    sender = {"podSelector": {"matchLabels": plan.selector("sync")}}
    found.append(
        _policy(
            plan,
            "processor",
            {"aerodrome/processor": "true"},
            ingress=[{"from": [sender], "ports": [poke]}],
        )
    )
    return found


def team_policy(plan: Plan, team: Team) -> Object:
    """Of a team's namespace: nobody calls its pods, and they reach everything but the cloud's metadata."""
    return _policy(plan, "default", {}, ingress=[], egress=_outward(plan), team=team)


def _policy(
    plan: Plan,
    name: str,
    labels: Mapping[str, str],
    *,
    ingress: Sequence[Object],
    egress: Sequence[Object] | None = None,
    team: Team | None = None,
) -> Object:
    spec: Object = {
        "podSelector": {"matchLabels": dict(labels)} if labels else {},
        "policyTypes": ["Ingress", *(["Egress"] if egress is not None else [])],
        "ingress": list(ingress),
    }
    if egress is not None:
        spec["egress"] = list(egress)
    return plan.object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        plan.name(name),
        "network",
        team=team,
        namespace=team.namespace if team else "",
        spec=spec,
    )


def _outward(plan: Plan) -> list[Object]:
    rules: list[Object] = [
        # names are resolved on some clusters by a server at a link-local address
        {"ports": [{"protocol": "UDP", "port": 53}, _tcp(53)]},
        {
            "to": [
                # addresses of pods are no addresses to some network plugins
                {"namespaceSelector": {}},
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_METADATA_V4)}},
                {"ipBlock": {"cidr": "::/0", "except": list(_METADATA_V6)}},
            ]
        },
    ]
    identity = _IDENTITY[plan.config.kubernetes.cloud_metadata]
    return [*rules, *({"to": [{"ipBlock": {"cidr": cidr}}], "ports": [_tcp(port)]} for cidr, port in identity)]


def _tcp(port: Any) -> Object:
    return {"protocol": "TCP", "port": port}
