"""What must hold across the keys of a configuration, beyond the type of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from aerodrome.config.airflow_settings import reserved
from aerodrome.config.document import Loc
from aerodrome.config.model import Config, GithubApp, SshKey, Team, Token
from aerodrome.config.store_options import FAMILIES, MUST_BE_PLACES, option_problem, store_url_problem
from aerodrome.names import COMMIT, nearest
from aerodrome.secrets import SecretPlace

Broken = tuple[Loc, str, str]
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_SYSTEM_NAMESPACES = {"default", "kube-system", "kube-public", "kube-node-lease"}


def broken_rules(config: Config, data: dict[str, Any]) -> list[Broken]:
    """The rules that `config` breaks: place in the file, what is wrong, what to do.

    Args:
        config: what could be validated; items of its lists stand where they stand in the file.
        data: the file as it was written: names of teams that are wrong in other ways count as well.
    """
    return [
        *_installation(config),
        *_store(config),
        *_airflow(config),
        *_users(config, data),
        *_names_of_teams(config, data),
        *(broken for index, team in enumerate(config.teams) for broken in _team(("teams", index), team)),
    ]


def _installation(config: Config) -> Iterator[Broken]:
    if config.sync.poll < 1:
        yield ("sync", "poll"), "must be at least 1s", ""
    if not 0.1 <= config.logs.segment <= 60:
        yield ("logs", "segment"), "must be between 100ms and 60s", ""
    if config.database.url is not None and "embedded" in config.database.model_fields_set:
        yield ("database",), "has both url and embedded", "keep one"
    if config.auth.manager is not None and "simple" in config.auth.model_fields_set:
        yield ("auth",), "has both simple and manager", "keep one"
    if config.auth.manager is not None and config.auth.manager.endswith(".FabAuthManager"):
        # base_auth_manager.is_authorized_team, which FAB's (provider 3.10) does not override
        yield (
            ("auth", "manager"),
            "Airflow's FabAuthManager knows no teams, and fails where the UI asks for them",
            "use the simple one or Keycloak's: "
            "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager",
        )
    if config.sync.limits.file > config.sync.limits.snapshot:
        yield ("sync", "limits"), "file is larger than snapshot: no snapshot could hold such a file", ""
    if config.kubernetes.topology == "compact" and (config.kubernetes.components.platform.replicas or 1) > 1:
        yield (
            ("kubernetes", "components", "platform", "replicas"),
            "the compact topology is one pod",
            "use topology: split for more than one scheduler",
        )


def _store(config: Config) -> Iterator[Broken]:
    if config.store is None:
        if config.store_options:
            yield ("store_options",), "are for a store, and none is given", "give store, for example s3://bucket/prefix"
        return
    problem = store_url_problem(config.store)
    if problem:
        yield ("store",), *problem
        return
    family = FAMILIES[config.store.split(":", 1)[0].lower()]
    for name, value in config.store_options.items():
        loc = ("store_options", name)
        wrong = option_problem(family, name)
        if wrong:
            yield loc, *wrong
        elif isinstance(value, str) and (name in MUST_BE_PLACES or _PASSWORD_IN_URL.search(value)):
            yield loc, "a secret is never written into this file", "name its place, for example {env: NAME}"


def _airflow(config: Config) -> Iterator[Broken]:
    for section, settings in config.airflow.items():
        for key, value in settings.items():
            loc = ("airflow", section, key)
            reason = reserved(section, key)
            if reason:
                yield loc, reason, "remove it"
            elif not key.endswith(("_cmd", "_secret")) and _holds_secret(key, value):
                yield (
                    loc,
                    "looks like a secret, and none is written into this file",
                    (f"use {key}_cmd with a command that prints it, where Airflow has that"),
                )


def _holds_secret(key: str, value: str) -> bool:
    if key in ("sentry_dsn", "smtp_password") or _PASSWORD_IN_URL.search(value):
        return True
    if key in ("backend_kwargs", "secrets_backend_kwargs"):
        return bool(re.search(r'"(password|secret_id|token|secret_access_key|private_key)"\s*:\s*"[^"]', value))
    return False


def _users(config: Config, data: dict[str, Any]) -> Iterator[Broken]:
    teams = _raw_names(data).values()
    first: dict[str, int] = {}
    for index, user in enumerate(config.auth.simple.users):
        loc = ("auth", "simple", "users", index)
        if user.name in first:
            yield (*loc, "name"), f"the user {user.name!r} stands twice", "keep one"
        first.setdefault(user.name, index)
        for position, team in enumerate(user.teams or ()):
            if team not in teams:
                guess = nearest(team, teams)
                yield (
                    (*loc, "teams", position),
                    f"there is no team {team!r}",
                    f"did you mean {guess!r}?" if guess else "",
                )


def _raw_names(data: dict[str, Any]) -> dict[int, str]:
    teams = data.get("teams")
    return {
        index: team["name"]
        for index, team in enumerate(teams if isinstance(teams, list) else [])
        if isinstance(team, dict) and isinstance(team.get("name"), str)
    }


def _names_of_teams(config: Config, data: dict[str, Any]) -> Iterator[Broken]:
    names: dict[str, int] = {}
    for index, name in _raw_names(data).items():
        if name in names:
            yield ("teams", index, "name"), f"there are two teams {name!r}", "each team needs a name of its own"
        names.setdefault(name, index)
    namespaces = {config.name: "the platform itself"}
    for index, team in enumerate(config.teams):
        loc = ("teams", index, "namespace")
        if team.namespace in _SYSTEM_NAMESPACES:
            yield loc, f"{team.namespace} is a namespace of Kubernetes itself", "give the team one of its own"
        elif team.namespace in namespaces and names.get(team.name) == index:
            yield (
                loc,
                f"{team.namespace} is the namespace of {namespaces[team.namespace]} already",
                "each team needs one of its own: executors in one namespace act on each other's pods",
            )
        namespaces.setdefault(team.namespace, f"team {team.name}")


def _team(loc: Loc, team: Team) -> Iterator[Broken]:
    if "poll" in team.model_fields_set and team.poll < 1:
        yield (*loc, "poll"), "must be at least 1s", ""
    if team.reparse is not None and team.reparse < 30:
        yield (*loc, "reparse"), "must be at least 30s", "never is right where only commits change DAGs"
    if team.gate.timeout < 1:
        yield (*loc, "gate", "timeout"), "must be at least 1s", ""
    if team.gate.memory < 256 << 20:
        yield (*loc, "gate", "memory"), "must be at least 256Mi: Airflow itself needs that", ""
    if "limits" in team.model_fields_set and team.limits.file > team.limits.snapshot:
        yield (*loc, "limits"), "file is larger than snapshot: no snapshot could hold such a file", ""
    if team.ref is not None and team.ref != team.ref.lower() and COMMIT.fullmatch(team.ref.lower()):
        yield (*loc, "ref"), "a commit is written in lower case", f"write {team.ref.lower()}"
    for name, value in team.worker.env.items():
        if isinstance(value, SecretPlace) and value.secret is None:
            yield (
                (*loc, "worker", "env", name),
                "a worker has no environment or file of this machine",
                "write text, or {secret: NAME, key: KEY} of the team's namespace",
            )
    yield from _folders(loc, team)
    yield from _credentials(loc, team)


def _folders(loc: Loc, team: Team) -> Iterator[Broken]:
    if team.paths is None:
        return
    if not team.paths:
        yield (*loc, "paths"), "is empty: nothing would be in the snapshot", "remove it to have everything"
        return
    if not any(_holds(path, team.dags) or _holds(team.dags, path) for path in team.paths):
        yield (
            (*loc, "dags"),
            f"{team.dags} is not under paths: it would not be in the snapshot",
            "add it to paths",
        )
    if "imports" in team.model_fields_set:
        for index, folder in enumerate(team.imports):
            if not any(_holds(path, folder) or _holds(folder, path) for path in team.paths):
                yield (
                    (*loc, "imports", index),
                    f"{folder} is not under paths: it would not be in the snapshot",
                    "add it to paths",
                )


def _holds(outer: str, inner: str) -> bool:
    return outer in ("", inner) or inner.startswith(outer + "/")


def _credentials(loc: Loc, team: Team) -> Iterator[Broken]:
    repo, credentials = team.repo_url, team.credentials
    at = (*loc, "credentials")
    if isinstance(credentials, Token | GithubApp):
        word = "a token" if isinstance(credentials, Token) else "a GitHub App"
        if repo.kind in ("ssh", "file"):
            remedy = "use ssh_key and known_hosts, or an https:// URL" if repo.kind == "ssh" else "remove credentials"
            yield at, f"{word} is for https://, and the repo is {_shown(repo.kind)}", remedy
        elif repo.kind == "http" and not repo.is_loopback:
            yield at, f"{word} would cross the network readable: the repo is http://", "use https://"
    if isinstance(credentials, SshKey) and repo.kind != "ssh":
        remedy = "remove credentials" if repo.kind == "file" else "use a token, or an ssh:// URL"
        yield at, f"an SSH key is for ssh://, and the repo is {_shown(repo.kind)}", remedy
    if team.ca is not None and repo.kind != "https":
        yield (*loc, "ca"), f"is for https://, and the repo is {_shown(repo.kind)}", "remove it"


def _shown(kind: str) -> str:
    return "a path of this machine" if kind == "file" else f"{kind}://"
