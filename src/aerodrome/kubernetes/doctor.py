"""What the cluster, the store, the database and each repository lack, each with its remedy."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from aerodrome.config import Config, SecretPlace, Team
from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes import access, checks, preconditions
from aerodrome.kubernetes.checks import Problem
from aerodrome.kubernetes.cluster import Cluster, Ref
from aerodrome.kubernetes.diagnose import diagnose
from aerodrome.kubernetes.objects import Object, objects
from aerodrome.kubernetes.ready import readiness
from aerodrome.kubernetes.watch import worst
from aerodrome.secrets import missing
from aerodrome.store import Store
from aerodrome.sync.credentials import Keyring, secret_folder
from aerodrome.sync.git import Git
from aerodrome.sync.mirror import look
from aerodrome.sync.remote import parse

_MARKER = "store.json"


class Doctor:
    """Looks at everything once, and changes nothing.

    Args:
        context: of the kubeconfig. Without one, a configuration that says nothing of Kubernetes is looked at as one of
            this machine.
        say: takes a line for each thing that was looked at.
    """

    def __init__(self, installation: Installation, context: str | None, say: Callable[[str], None]) -> None:
        self._installation = installation
        self._config = installation.config
        self._context = context
        self._say = say

    def run(self) -> list[Problem]:
        """All that is wrong. One thing that can not be looked at does not keep the others from being looked at."""
        if self._context is None and "kubernetes" not in self._config.model_fields_set:
            return self._of_this_machine()
        return self._of_the_cluster()

    def _of_this_machine(self) -> list[Problem]:
        config = self._config
        found = self._look("secrets", lambda: _told(missing(place for _, place in config.places())))
        found += self._look(
            "store", lambda: _store(Store(self._installation.store_url, self._installation.store_options))
        )
        for team in config.teams:
            found += self._look(f"repository of {team.name}", partial(_repository, team))
        return found

    def _of_the_cluster(self) -> list[Problem]:
        config = self._config
        found = self._look("configuration", lambda: self._of_configuration())
        entries: list[Object] = []
        with contextlib.suppress(AerodromeError):
            entries = objects(config)
        opened: list[Cluster] = []
        found += self._look("cluster", lambda: self._open(opened))
        for cluster in opened:
            with cluster:
                for name, step in self._steps(cluster, entries):
                    found += self._look(name, step)
        return found

    def _steps(self, cluster: Cluster, entries: list[Object]) -> Iterator[tuple[str, Callable[[], Iterable[Problem]]]]:
        config = self._config
        yield "version", lambda: preconditions.version(cluster)
        yield "rights", lambda: preconditions.rights(cluster, entries)
        yield "namespaces", lambda: preconditions.namespaces(cluster, entries)
        yield "secrets", lambda: preconditions.missing_secrets(cluster, config)
        yield "storage", lambda: preconditions.storage(cluster, config)
        yield "platform", lambda: _workloads(cluster, entries)
        yield "pods of the teams", lambda: _pods(cluster, config)
        yield "store", lambda: _store(access.open_store(cluster, config))
        for team in config.teams:
            yield f"store for {team.name}", partial(_readable, cluster, config, team)
            yield f"repository of {team.name}", partial(_seen, cluster, config, team)

    def _open(self, opened: list[Cluster]) -> list[Problem]:
        opened.append(Cluster(self._context))
        return []

    def _of_configuration(self) -> Iterator[Problem]:
        yield from checks.problems(self._config)
        exposed = checks.exposed(self._config)
        if exposed is not None:
            yield exposed
        try:
            objects(self._config)
        except AerodromeError as error:
            yield Problem(error.what, error.remedy)

    def _look(self, name: str, step: Callable[[], Iterable[Problem]]) -> list[Problem]:
        try:
            found = list(step())
        except AerodromeError as error:
            found = _told([error])
        plural = "problem" if len(found) == 1 else "problems"
        self._say(f"{name:<28} {'ok' if not found else f'{len(found)} {plural}'}")
        return found


def _told(errors: Iterable[AerodromeError]) -> list[Problem]:
    return [Problem(" ".join(error.what.split()), error.remedy) for error in errors]


def _store(store: Store) -> Iterator[Problem]:
    """The store can not be read, or not be written."""
    store.read(_MARKER)
    key = f"doctor/{uuid.uuid4()}"
    store.write(key, b"")
    store.delete(key)
    yield from ()


def _readable(cluster: Cluster, config: Config, team: Team) -> Iterator[Problem]:
    """The keys in the team's namespace can not read the store."""
    if not any(isinstance(value, SecretPlace) for value in config.store_options.values()):
        return
    access.open_store(cluster, config, team.namespace).read(_MARKER)
    yield from ()


def _seen(cluster: Cluster, config: Config, team: Team) -> Iterator[Problem]:
    """What sync has last seen of the repository; where it has not looked yet, what this machine sees."""
    head = None
    with contextlib.suppress(AerodromeError):
        head = access.open_store(cluster, config).team(team.name).head()
    if head is not None:
        if head.error:
            yield Problem(
                f"teams.{team.name}.repo: {' '.join(head.error.split())}", f"Last seen {head.seen:%F %T} UTC."
            )
        return
    with tempfile.TemporaryDirectory() as folder:
        places = [place for where, place in config.places() if where.startswith((f"teams.{team.name}.c",))]
        secrets = Path(folder) / "secrets"
        for place in places:
            if place.secret is not None and place.key is not None:
                path = secrets / place.secret / place.key
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)
                path.write_text(access.value(cluster, config.name, place))
        yield from _repository(_on_this_machine(team, secrets))


def _on_this_machine(team: Team, secrets: Path) -> Team:
    """`team` with its credentials in files below `secrets`."""

    def moved(value: object) -> object:
        if isinstance(value, SecretPlace) and value.secret is not None and value.key is not None:
            return SecretPlace(file=str(secrets / value.secret / value.key))
        fields = getattr(type(value), "model_fields", None)
        if fields is None:
            return value
        return value.model_copy(update={name: moved(getattr(value, name)) for name in fields})  # type: ignore[attr-defined]

    return team.model_copy(update={"credentials": moved(team.credentials), "ca": moved(team.ca)})


def _repository(team: Team) -> Iterator[Problem]:
    """The repository can not be reached, refuses the credentials, or has no such ref."""
    remote = parse(team.repo)
    with tempfile.TemporaryDirectory() as folder:
        keyring = Keyring(remote, team.credentials, team.ca, secret_folder(Path(folder)))
        try:
            with keyring.lent(remote) as extra:
                asyncio.run(look(Git(Path(folder)), remote, team.ref, extra))
        except AerodromeError as error:
            what = keyring.masker.mask(" ".join(error.what.split()))
            yield Problem(f"teams.{team.name}.repo: {what}", error.remedy)


def _workloads(cluster: Cluster, entries: Iterable[Object]) -> Iterator[Problem]:
    absent = []
    for entry in entries:
        if entry["kind"] not in ("Deployment", "StatefulSet", "Job"):
            continue
        ref = Ref.of(entry)
        there = cluster.get(ref)
        if there is None:
            absent.append(str(ref))
            continue
        how = readiness(there)
        trouble = worst(cluster, there) if how.state != "ready" else None
        if trouble is not None:
            yield Problem(f"{ref}: {trouble[1].summary}", trouble[1].remedy)
        elif how.state != "ready":
            yield Problem(f"{ref}: {how.words}", "Wait a moment, and look again.")
    if absent:
        yield Problem(f"not applied yet: {', '.join(absent)}", "Run 'aerodrome apply'.")


def _pods(cluster: Cluster, config: Config) -> Iterator[Problem]:
    for team in config.teams:
        for pod in cluster.list("Pod", team.namespace):
            found = diagnose(pod)
            if found.is_trouble:
                yield Problem(f"{team.namespace}/{pod['metadata']['name']}: {found.summary}", found.remedy)
