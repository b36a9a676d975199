"""Brings a cluster to what the configuration says: server-side apply, in order, watched until it works.

Every run is the same run: what is right already is left alone, and a run that was killed is finished by the next one.
A step that fails leaves running what runs: new pods take over only when they are ready.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from aerodrome.config import Config
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes import checks, generated, preconditions
from aerodrome.kubernetes.changes import Change, compare
from aerodrome.kubernetes.checks import Problem
from aerodrome.kubernetes.cluster import Cluster, Ref, Refused
from aerodrome.kubernetes.objects import Object, jobs, objects, secrets
from aerodrome.kubernetes.objects.plan import INSTANCE, MANAGED_BY, TEAM, Plan, digest
from aerodrome.kubernetes.ready import readiness
from aerodrome.kubernetes.watch import Watch

Say = Callable[[str], None]

TEMPLATES = "aerodrome/templates"
"""Annotation of the scheduler's pod: a change of it makes the node hand the pod its new templates at once."""

_OWNED = (
    *("Deployment", "StatefulSet", "Job", "PodDisruptionBudget", "Ingress", "Service", "NetworkPolicy"),
    *("RoleBinding", "Role", "ServiceAccount", "ResourceQuota", "LimitRange", "ConfigMap", "Secret"),
)


@dataclass
class Result:
    """What an apply did."""

    changes: list[Change] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    """Secrets that were generated."""
    removed: list[Ref] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Teams that the configuration no longer has and whose namespaces are still there."""

    @property
    def nothing(self) -> bool:
        """Whether all was as it should be."""
        return not self.made and not self.removed and all(change.action == "same" for change in self.changes)


class Apply:
    """One apply.

    Args:
        say: takes a line of progress.
        timeout: seconds that each part may take to become ready.
        accept_generated_passwords: an Ingress may lead to Airflow's simple auth manager.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        say: Say,
        *,
        timeout: float = 900.0,
        accept_generated_passwords: bool = False,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._say = say
        self._timeout = timeout
        self._accept = accept_generated_passwords
        self._plan = Plan(config)
        self._entries = self._checked()

    def _checked(self) -> list[Object]:
        checks.refuse(self._config)
        return objects(self._config)

    def run(self) -> Result:
        """Apply, and wait until everything works.

        Raises:
            AerodromeError: a precondition is missing (nothing was changed but namespaces), or a part does not start.
        """
        self._refuse(self._before())
        result = Result()
        named = [entry for entry in self._entries if entry["kind"] == "Namespace"]
        for entry in named:
            self._apply(entry, result)
        # Secrets can be made by hand only now that their namespaces are there
        self._refuse(preconditions.missing_secrets(self._cluster, self._config))
        result.made = self._make_secrets()
        for part in self._parts():
            for entry in part:
                self._apply(entry, result)
            self._wait(part)
        result.removed = self._remove_obsolete()
        self._hand_out_templates(result)
        result.left = self.removed_teams()
        return result

    def plan(self) -> Result:
        """What :meth:`run` would do; nothing is changed.

        Raises:
            AerodromeError: a precondition is missing.
        """
        self._refuse(self._before())
        result = Result()
        absent = set()
        for entry in self._entries:
            before = self._cluster.get(Ref.of(entry))
            if before is None and entry["kind"] == "Namespace":
                absent.add(entry["metadata"]["name"])
            lost = before is None and entry["metadata"].get("namespace") in absent
            after = None if lost else self._cluster.apply(entry, dry_run=True)
            result.changes.append(compare(entry, before, after))
        result.made = list(self._missing_secrets())
        result.removed = self._obsolete()
        result.left = self.removed_teams()
        return result

    def make_secrets(self) -> list[str]:
        """Make keys and passwords that are not there yet, and the namespace they are in, for manifests others apply.

        Returns:
            The Secrets that were made or completed.

        Raises:
            AerodromeError: the namespace is somebody else's, or a right is missing.
        """
        home = [entry for entry in self._entries if Ref.of(entry) == Ref("Namespace", self._plan.namespace)]
        rights = preconditions.rights(self._cluster, [*home, *self._probe_of_secrets()])
        self._refuse(rights or preconditions.namespaces(self._cluster, home))
        for entry in home:
            self._apply(entry, Result())
        return self._make_secrets()

    def removed_teams(self) -> list[str]:
        """Teams that have a namespace of this installation and are no longer in the configuration."""
        mine = self._cluster.list("Namespace", labels={INSTANCE: self._config.name, MANAGED_BY: "aerodrome"})
        known = {team.name for team in self._config.teams}
        named = {item["metadata"].get("labels", {}).get(TEAM) for item in mine}
        return sorted(name for name in named if name and name not in known)

    def forget(self, teams: Sequence[str]) -> None:
        """Remove what teams that are no longer in the configuration have left in the database.

        Raises:
            AerodromeError: the Job that does it fails.
        """
        job = jobs.forget(self._plan, teams)
        ref = Ref.of(job)
        self._delete_and_wait(ref)
        self._cluster.apply(job)
        self._say(f"created     {ref}")
        self._wait([job])
        self._cluster.delete(ref)

    def _before(self) -> list[Problem]:
        exposed = checks.exposed(self._config)
        rights = preconditions.rights(self._cluster, [*self._entries, *self._probe_of_secrets()])
        return [
            *([exposed] if exposed is not None and not self._accept else []),
            *preconditions.version(self._cluster),
            *rights,
            # whoever may not look is not told what is there
            *([] if rights else preconditions.namespaces(self._cluster, self._entries)),
        ]

    def _probe_of_secrets(self) -> list[Object]:
        return [{"kind": "Secret", "metadata": {"name": "any", "namespace": self._plan.namespace}}]

    def _refuse(self, problems: Sequence[Problem]) -> None:
        if not problems:
            return
        if len(problems) == 1:
            raise AerodromeError(problems[0].what, problems[0].remedy)
        lines = [f"{problem.what}\n    {problem.remedy}" for problem in problems]
        raise AerodromeError("\n".join(lines), f"These {len(problems)} stand in the way; what runs goes on.")

    def _make_secrets(self) -> list[str]:
        missing = self._missing_secrets()
        for name, data in missing.items():
            self._cluster.apply(generated.secret(self._config, name, data))
            self._say(f"made        Secret {self._plan.namespace}/{name}")
        return list(missing)

    def _missing_secrets(self) -> dict[str, generated.Data]:
        present = {}
        for component in secrets.generated(self._config):
            name = self._plan.name(component)
            there = self._cluster.get(Ref("Secret", name, self._plan.namespace))
            if there is not None:
                data = there.get("data") or {}
                present[name] = {key: base64.b64decode(value).decode() for key, value in data.items()}
        return generated.missing(self._config, present)

    def _parts(self) -> Iterator[list[Object]]:
        """What is applied after the namespaces, in groups that are waited for before the next.

        Ordered so that an image that can not be pulled or started costs nothing: a database that works is replaced only
        after the Job of the new image has ended well, and the pods of tasks follow when all that runs has done so. Only
        where there is a new team, the scheduler finds its template at once.
        """
        entries = [entry for entry in self._entries if entry["kind"] != "Namespace"]
        database = [entry for entry in entries if entry["kind"] == "StatefulSet"]
        templates = [entry for entry in entries if Ref.of(entry) == self._templates and self._has_keys(entry)]
        others = [entry for entry in entries if entry not in (*database, *templates)]
        job_at = next(index for index, entry in enumerate(others) if entry["kind"] == "Job")
        ground, job, running = others[:job_at], others[job_at : job_at + 1], others[job_at + 1 :]
        if all(self._works(Ref.of(entry)) for entry in database):
            yield from (ground, job, database, running, templates)
        else:
            yield from ([*ground, *database], job, running, templates)

    @property
    def _templates(self) -> Ref:
        return Ref("ConfigMap", self._plan.name("workers"), self._plan.namespace)

    def _has_keys(self, entry: Object) -> bool:
        there = self._cluster.get(Ref.of(entry))
        return there is not None and set(entry["data"]) <= set(there.get("data") or {})

    def _works(self, ref: Ref) -> bool:
        there = self._cluster.get(ref)
        return there is not None and readiness(there).state == "ready"

    def _apply(self, entry: Object, result: Result) -> None:
        ref = Ref.of(entry)
        before = self._cluster.get(ref)
        if entry["kind"] == "Job" and before is not None:
            if readiness(before).state != "failed":
                # a Job can not be changed, and its name says what it does
                result.changes.append(Change(entry, "same"))
                return
            self._delete_and_wait(ref)
            before = None
        change = compare(entry, before, self._cluster.apply(entry))
        result.changes.append(change)
        words = {"create": "created", "change": "changed", "same": "unchanged"}[change.action]
        self._say(f"{words:<11} {ref}" + (f"  ({change.restarts})" if change.restarts else ""))

    def _wait(self, part: Sequence[Object]) -> None:
        Watch(self._cluster, self._say, self._timeout).until_ready([Ref.of(entry) for entry in part])

    def _delete_and_wait(self, ref: Ref) -> None:
        self._cluster.delete(ref, wait_for_dependents=True)
        deadline = time.monotonic() + 60
        while self._cluster.get(ref) is not None:
            if time.monotonic() > deadline:
                raise AerodromeError(f"{ref} does not go away", "Look at its finalizers, and try again.")
            time.sleep(0.2)

    def _obsolete(self) -> list[Ref]:
        """Objects of this installation that the configuration no longer has; a removed team's namespace is kept."""
        wanted = {Ref.of(entry) for entry in self._entries}
        kept = {self._plan.name(name) for name in secrets.ALL}
        found = []
        for namespace in (self._plan.namespace, *(team.namespace for team in self._config.teams)):
            for kind in _OWNED:
                labels = {INSTANCE: self._config.name, MANAGED_BY: "aerodrome"}
                for item in self._list(kind, namespace, labels):
                    ref = Ref.of(item)
                    if ref not in wanted and not (kind == "Secret" and ref.name in kept):
                        found.append(ref)
        return found

    def _list(self, kind: str, namespace: str, labels: dict[str, str]) -> list[Object]:
        try:
            return self._cluster.list(kind, namespace, labels)
        except Refused as refused:
            if refused.status == 404:
                return []
            raise

    def _remove_obsolete(self) -> list[Ref]:
        removed = []
        for ref in self._obsolete():
            if self._cluster.delete(ref):
                removed.append(ref)
                self._say(f"removed     {ref}")
        return removed

    def _hand_out_templates(self, result: Result) -> None:
        """Templates reach a running scheduler within a minute by themselves; this makes it a second."""
        changed = [
            change for change in result.changes if Ref.of(change.entry) == self._templates and change.action == "change"
        ]
        if not changed:
            return
        component = "platform" if self._config.kubernetes.topology == "compact" else "scheduler"
        version = digest(repr(changed[0].entry["data"]))
        for pod in self._cluster.list("Pod", self._plan.namespace, self._plan.selector(component)):
            try:
                self._cluster.annotate(Ref.of(pod), {TEMPLATES: version})
            except Refused:
                self._say("            pods of tasks get their new template within a minute")
                return
