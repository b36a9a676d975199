"""What a cluster lacks before anything can be applied: rights, namespaces of one's own, Secrets and their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aerodrome.config import Config
from aerodrome.kubernetes.checks import Problem
from aerodrome.kubernetes.cluster import KINDS, Cluster, Ref
from aerodrome.kubernetes.objects import Object, secrets
from aerodrome.kubernetes.objects.plan import INSTANCE, MANAGED_BY, Plan

OLDEST = (1, 29)
"""The oldest Kubernetes that knows all that is rendered."""

_VERBS = ("get", "list", "create", "patch", "delete")


@dataclass(frozen=True)
class NeededSecret:
    """A Secret that the configuration names: it is the user's to make. Keys are empty where all of it is used."""

    namespace: str
    name: str
    keys: tuple[str, ...]
    purpose: str


def version(cluster: Cluster) -> list[Problem]:
    """A cluster that is too old."""
    found = cluster.version()
    if found >= OLDEST:
        return []
    return [
        Problem(
            f"the cluster is Kubernetes {found[0]}.{found[1]}", f"Aerodrome needs {OLDEST[0]}.{OLDEST[1]} or newer."
        )
    ]


def rights(cluster: Cluster, entries: Iterable[Object]) -> list[Problem]:
    """The rights that this user lacks for `entries`, a namespace a line."""
    kinds: dict[str | None, dict[str, None]] = {}
    for entry in entries:
        namespace = entry["metadata"].get("namespace")
        kinds.setdefault(namespace, {})[entry["kind"]] = None
        if namespace is not None:
            kinds[namespace] |= {"Pod": None}
    found = []
    for namespace, wanted in kinds.items():
        lacking: dict[str, list[str]] = {}
        for kind in wanted:
            for verb in ("get", "list") if kind == "Pod" else _VERBS:
                if not cluster.may(verb, kind, namespace):
                    lacking.setdefault(kind, []).append(verb)
        if lacking:
            words = "; ".join(f"{', '.join(verbs)} {KINDS[kind][1]}" for kind, verbs in lacking.items())
            where = f"in the namespace {namespace}" if namespace else "in the whole cluster"
            found.append(
                Problem(f"you may not {words} {where}", "Ask the cluster's owner for a role with these rights.")
            )
    return found


def namespaces(cluster: Cluster, entries: Iterable[Object]) -> list[Problem]:
    """Namespaces that are there already and belong to somebody else."""
    found = []
    for entry in entries:
        if entry["kind"] != "Namespace":
            continue
        name, instance = entry["metadata"]["name"], entry["metadata"]["labels"][INSTANCE]
        there = cluster.get(Ref("Namespace", name))
        if there is None:
            continue
        labels = there["metadata"].get("labels", {})
        if labels.get(INSTANCE) == instance:
            if there["metadata"].get("deletionTimestamp"):
                found.append(Problem(f"the namespace {name} is being deleted", "Wait until it is gone, and try again."))
            continue
        owner = labels.get(INSTANCE) or labels.get(MANAGED_BY)
        found.append(
            Problem(
                f"the namespace {name} belongs to {owner or 'somebody else'}",
                f"Name another one, or hand it over: kubectl label namespace {name} --overwrite {INSTANCE}={instance}",
            )
        )
    return found


def needed_secrets(config: Config) -> list[NeededSecret]:
    """The Secrets that the configuration names, each in every namespace where it is used."""
    plan = Plan(config)
    keys: dict[tuple[str, str, str], set[str]] = {}
    for where, place in config.places():
        if place.secret is None or place.key is None:
            continue
        parts = where.split(".")
        if parts[0] == "teams" and parts[2] == "worker":
            homes = [config.team(parts[1]).namespace]
        elif parts[0] == "store_options":
            homes = [plan.namespace, *(team.namespace for team in config.teams)]
        else:
            homes = [plan.namespace]
        for home in homes:
            keys.setdefault((home, place.secret, where), set()).add(place.key)
    for team in config.teams:
        if team.connections_from is not None:
            keys.setdefault(
                (team.namespace, team.connections_from.secret, f"teams.{team.name}.connections_from"), set()
            )
    for name in config.kubernetes.image_pull_secrets:
        for home in (plan.namespace, *(team.namespace for team in config.teams)):
            keys.setdefault((home, name, "kubernetes.image_pull_secrets"), set())
    ingress = config.kubernetes.ingress
    if ingress is not None and ingress.tls_secret is not None and "cert-manager" not in str(ingress.annotations):
        keys.setdefault((plan.namespace, ingress.tls_secret, "kubernetes.ingress.tls_secret"), set())
    merged: dict[tuple[str, str], tuple[set[str], list[str]]] = {}
    for (home, name, purpose), wanted in keys.items():
        known, purposes = merged.setdefault((home, name), (set(), []))
        known |= wanted
        purposes.append(purpose)
    return [
        NeededSecret(home, name, tuple(sorted(wanted)), purposes[0])
        for (home, name), (wanted, purposes) in sorted(merged.items())
    ]


def missing_secrets(cluster: Cluster, config: Config) -> list[Problem]:
    """Secrets that the configuration names and the cluster lacks, and keys that they lack."""
    return list(_missing(cluster, config))


def _missing(cluster: Cluster, config: Config) -> Iterator[Problem]:
    generated = {Plan(config).name(component) for component in secrets.generated(config)}
    for needed in needed_secrets(config):
        if needed.namespace == config.name and needed.name in generated:
            continue
        there = cluster.get(Ref("Secret", needed.name, needed.namespace))
        if there is None:
            # from files: what stands in a command line, every user of the machine can read
            literals = "".join(f" --from-file={key}=FILE" for key in needed.keys) or " ..."
            yield Problem(
                f"the Secret {needed.namespace}/{needed.name} does not exist ({needed.purpose})",
                f"Make it: kubectl -n {needed.namespace} create secret generic {needed.name}{literals}",
            )
            continue
        lacking = [key for key in needed.keys if not there.get("data", {}).get(key)]
        if lacking:
            yield Problem(
                f"the Secret {needed.namespace}/{needed.name} has no key {', '.join(lacking)} ({needed.purpose})",
                "Add it to the Secret.",
            )


def storage(cluster: Cluster, config: Config) -> list[Problem]:
    """No storage class for the embedded database's volume, where that volume is not there yet."""
    if config.database.url is not None:
        return []
    plan = Plan(config)
    claim = cluster.get(Ref("PersistentVolumeClaim", f"data-{plan.name('database')}-0", plan.namespace))
    if claim is not None and claim.get("status", {}).get("phase") == "Bound":
        return []
    wanted = config.database.embedded.storage_class
    classes = cluster.list("StorageClass")
    names = [item["metadata"]["name"] for item in classes]
    if wanted is not None:
        if wanted in names or claim is not None:
            return []
        return [
            Problem(
                f"database.embedded.storage_class: the cluster has no storage class {wanted!r}",
                f"The classes are: {', '.join(names) or 'none'}.",
            )
        ]
    marked = "storageclass.kubernetes.io/is-default-class"
    if any(item["metadata"].get("annotations", {}).get(marked) == "true" for item in classes) or claim is not None:
        return []
    return [
        Problem(
            "database.embedded: the cluster has no default storage class for the database's volume",
            f"Name one in database.embedded.storage_class ({', '.join(names) or 'there are none'}), or make a volume.",
        )
    ]
