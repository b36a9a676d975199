"""What a processor's children must not see, and what decides a verdict besides the snapshot.

The environment that a process was started with can be read from ``/proc`` for as long as it lives, by it and its
forks. Hence :func:`hide` starts this program again without the secrets and hands them over by a pipe; the warm parent
is forked before they are read from it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aerodrome.config import Config, Team

CLUSTER = "AERODROME_CLUSTER"
"""Environment variable that the manifests set."""

HIDDEN = "AERODROME_HIDDEN"
"""Environment variable: number of the descriptor that the secrets can be read from, once."""

# Options that Airflow calls sensitive (config.yml) and that its control plane alone needs. Mail is sent by children.
_AIRFLOW = re.compile(
    r"AIRFLOW__(?:(?:DATABASE|CORE)__SQL_ALCHEMY_(?:CONN(?:_ASYNC)?|ENGINE_ARGS)"
    r"|CORE__(?:FERNET_KEY|ASSET_MANAGER_KWARGS)"
    r"|(?:API|WEBSERVER)__SECRET_KEY"
    r"|API_AUTH__JWT_(?:SECRET|PRIVATE_KEY_PATH)"
    r"|LOGGING__REMOTE_TASK_HANDLER_KWARGS"
    r"|SECRETS__BACKEND(?:_KWARGS)?"
    r"|CELERY__(?:BROKER_URL|RESULT_BACKEND)"
    r"|SENTRY__SENTRY_DSN)(?:_CMD|_SECRET)?"
)
# What obstore reads by itself: with them team code could write verdicts and pointers of any team.
_CLOUD = re.compile(
    r"AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|WEB_IDENTITY_TOKEN_FILE"
    r"|CONTAINER_CREDENTIALS_\w+|CONTAINER_AUTHORIZATION_\w+|PROFILE|SHARED_CREDENTIALS_FILE)"
    r"|AZURE_(?:STORAGE_)?(?:\w*KEY|SAS_\w+|\w*TOKEN\w*|CLIENT_SECRET|FEDERATED_TOKEN_FILE)"
    r"|GOOGLE_(?:APPLICATION_CREDENTIALS|SERVICE_ACCOUNT\w*)"
)


def secret_names(environ: Mapping[str, str], config: Config | None = None) -> set[str]:
    """The names in `environ` that team code must not see.

    Args:
        config: names the environment variables of its own secrets.
    """
    names = {name for name in environ if _AIRFLOW.fullmatch(name)}
    if config is not None:
        names |= {place.env for _, place in config.places() if place.env is not None and place.env in environ}
        if config.store is not None and not config.store.startswith("file:"):
            names |= {name for name in environ if _CLOUD.fullmatch(name)}
    return names


def hide(config: Config | None = None) -> dict[str, str]:  # noqa: RET503 - execve does not return
    """The secrets of this process, which it was not started with.

    The first time, this starts the running program anew, with the same arguments and process id, and never returns.
    """
    if (number := os.environ.pop(HIDDEN, None)) is not None:
        with open(int(number), "rb") as pipe:  # noqa: PTH123 - a descriptor
            return dict(json.load(pipe))
    names = secret_names(os.environ, config)
    if not names:
        return {}
    read, write = os.pipe()
    with open(write, "wb") as pipe:  # noqa: PTH123
        os.set_blocking(write, False)  # it fits, or this fails at once
        pipe.write(json.dumps({name: os.environ[name] for name in names}).encode())
    os.set_inheritable(read, True)
    environ = {name: value for name, value in os.environ.items() if name not in names}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environ, HIDDEN: str(read)})  # noqa: S606


def fingerprint(team: Team) -> str:
    """The hash that verdicts on a team's snapshots are kept by: policy, environment and Airflow's version.

    An upgrade of any installed package changes it, so that the same snapshot is judged again.
    """
    packages = sorted(
        {(dist.metadata["Name"] or "", dist.version or "") for dist in importlib.metadata.distributions()}
    )
    decides = {
        "gate": team.gate.model_dump(mode="json"),
        "dags": team.dags,
        "imports": list(team.imports),
        "python": sys.version,
        "packages": packages,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
