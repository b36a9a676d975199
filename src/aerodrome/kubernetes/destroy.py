"""Takes an installation off a cluster. The database, its keys and the store stay unless told otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aerodrome.config import Config
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes.access import open_store
from aerodrome.kubernetes.cluster import Cluster, Ref
from aerodrome.kubernetes.objects import secrets
from aerodrome.kubernetes.objects.plan import INSTANCE, MANAGED_BY, TEAM, Plan

# what runs goes first, and the controllers that would make pods anew
_ORDER = (
    *("Deployment", "Job", "StatefulSet", "PodDisruptionBudget", "Ingress", "Service", "NetworkPolicy"),
    *("RoleBinding", "Role", "ServiceAccount", "ConfigMap", "Secret"),
)


@dataclass
class Found:
    """What an installation has in a cluster."""

    objects: list[Ref] = field(default_factory=list)
    teams: dict[str, str] = field(default_factory=dict)
    """Team to namespace."""
    database: list[Ref] = field(default_factory=list)
    """The database's volume, and the keys without which its content can not be read."""
    platform: Ref | None = None
    """The platform's namespace."""

    @property
    def nothing(self) -> bool:
        """Whether there is none of it."""
        return not self.objects and not self.teams and not self.database and self.platform is None


class Destroy:
    """Removes one installation.

    Args:
        say: takes a line of progress.
        timeout: seconds that namespaces may take to go.
    """

    def __init__(self, config: Config, cluster: Cluster, say: Callable[[str], None], *, timeout: float = 300.0) -> None:
        self._plan = Plan(config)
        self._cluster = cluster
        self._say = say
        self._timeout = timeout
        self._mine = {INSTANCE: config.name, MANAGED_BY: "aerodrome"}

    def find(self) -> Found:
        """What there is."""
        found = Found()
        home = self._plan.namespace
        for item in self._cluster.list("Namespace", labels=self._mine):
            team = item["metadata"]["labels"].get(TEAM)
            if team:
                found.teams[team] = item["metadata"]["name"]
            elif item["metadata"]["name"] == home:
                found.platform = Ref.of(item)
        if found.platform is not None:
            kept = {self._plan.name(name) for name in secrets.ALL}
            for kind in _ORDER:
                for item in self._cluster.list(kind, home, self._mine):
                    ref = Ref.of(item)
                    if kind == "Secret" and ref.name in kept:
                        found.database.append(ref)
                    else:
                        found.objects.append(ref)
            for claim in self._cluster.list("PersistentVolumeClaim", home, {INSTANCE: self._plan.config.name}):
                found.database.append(Ref.of(claim))
        found.objects += [Ref.of(item) for item in self._cluster.list("PriorityClass", labels=self._mine)]
        return found

    def run(self, found: Found, *, database: bool = False) -> None:
        """Remove `found`.

        Args:
            database: its volume, the generated keys and the platform's namespace too.

        Raises:
            AerodromeError: something does not go away.
        """
        for ref in found.objects:
            if self._cluster.delete(ref):
                self._say(f"removed     {ref}")
        namespaces = [Ref("Namespace", name) for name in found.teams.values()]
        if database:
            for ref in found.database:
                if self._cluster.delete(ref):
                    self._say(f"removed     {ref}")
            if found.platform is not None:
                namespaces.append(found.platform)
        self.remove_namespaces(namespaces)

    def remove_namespaces(self, namespaces: list[Ref]) -> None:
        """Delete namespaces with all that is in them, and wait until they are gone.

        Raises:
            AerodromeError: one of them stays.
        """
        for ref in namespaces:
            self._cluster.delete(ref)
        deadline = time.monotonic() + self._timeout
        for ref in namespaces:
            while self._cluster.get(ref) is not None:
                if time.monotonic() > deadline:
                    raise AerodromeError(
                        f"{ref} does not go away", f"Look at what is left in it: kubectl get all -n {ref.name}"
                    )
                time.sleep(0.5)
            self._say(f"removed     {ref}")

    def remove_teams(self, teams: list[str]) -> None:
        """Remove the namespaces of teams that are no longer in the configuration."""
        found = self.find().teams
        self.remove_namespaces([Ref("Namespace", found[team]) for team in teams if team in found])

    def empty_store(self) -> int:
        """Delete everything of the store's prefix, from this machine. Returns how many objects were there."""
        store = open_store(self._cluster, self._plan.config)
        count = 0
        for key in list(store.list("")):
            store.delete(key)
            count += 1
        return count
