"""The Secrets that ``apply`` makes: their names and keys. Their values are made elsewhere and are never rendered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aerodrome.config import Config, SecretPlace
from aerodrome.config.airflow_settings import variable
from aerodrome.kubernetes.objects.plan import SECRETS, Object, Plan, digest
from aerodrome.secrets import SECRETS_FOLDER

FERNET = "fernet"
API = "api"
TASK_KEY = "task-key"
UI_KEY = "ui-key"
DATABASE = "database"
LOGINS = "logins"
ALL = (API, DATABASE, FERNET, LOGINS, TASK_KEY, UI_KEY)
"""Never removed by themselves: without the Fernet key, say, what the database holds can not be read again."""

PRIVATE_KEY = "private.pem"
PASSWORDS = "passwords.json"
_KEYS_FOLDER = "/run/aerodrome/keys"
LOGINS_FOLDER = "/run/aerodrome/logins"


def generated(config: Config) -> tuple[str, ...]:
    """The Secrets that the platform makes itself, by component."""
    embedded = (DATABASE,) if config.database.url is None else ()
    simple = (LOGINS,) if config.auth.manager is None else ()
    ui = (UI_KEY,) if config.kubernetes.topology == "split" else ()
    return (API, *embedded, FERNET, *simple, TASK_KEY, *ui)


def from_secret(name: str, secret: str, key: str) -> Object:
    """An environment variable with the value of a Secret's key."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def database_url(plan: Plan) -> Object:
    """The variable with the URL of Airflow's database."""
    place = plan.config.database.url
    name = variable("database", "sql_alchemy_conn")
    if place is None:
        return from_secret(name, plan.name(DATABASE), "url")
    assert place.secret is not None and place.key is not None
    return from_secret(name, place.secret, place.key)


def fernet_key(plan: Plan) -> Object:
    """The variable with the key that encrypts connections in the database."""
    return from_secret(variable("core", "fernet_key"), plan.name(FERNET), "key")


def api_secret(plan: Plan) -> Object:
    """The variable with the key that the api-servers share."""
    return from_secret(variable("api", "secret_key"), plan.name(API), "key")


def signing_key(plan: Plan, component: str, container: str) -> tuple[Object, Object, Object]:
    """A private key as a file: the variable that names it, its mount, its volume.

    Args:
        component: :data:`TASK_KEY` or :data:`UI_KEY`.
    """
    volume = f"{component}-{container}"
    return (
        {"name": variable("api_auth", "jwt_private_key_path"), "value": f"{_KEYS_FOLDER}/{PRIVATE_KEY}"},
        {"name": volume, "mountPath": _KEYS_FOLDER, "readOnly": True},
        # 0440: the file belongs to root, and the pod's group reads it
        {"name": volume, "secret": {"secretName": plan.name(component), "defaultMode": 0o440}},
    )


def mounted(places: Iterable[SecretPlace], container: str) -> tuple[list[Object], list[Object], list[Object]]:
    """Secrets that a container reads itself (:mod:`aerodrome.secrets`): variables, mounts, volumes. Only those keys."""
    keys: dict[str, set[str]] = {}
    for place in places:
        if place.secret is not None and place.key is not None:
            keys.setdefault(place.secret, set()).add(place.key)
    if not keys:
        return [], [], []
    sources: list[dict[str, Any]] = [
        {"secret": {"name": secret, "items": [{"key": key, "path": f"{secret}/{key}"} for key in sorted(keys[secret])]}}
        for secret in sorted(keys)
    ]
    volume = f"secrets-{container}"
    return (
        [{"name": SECRETS_FOLDER, "value": SECRETS}],
        [{"name": volume, "mountPath": SECRETS, "readOnly": True}],
        [{"name": volume, "projected": {"defaultMode": 0o440, "sources": sources}}],
    )


def of_store(config: Config) -> Iterator[SecretPlace]:
    """The places among the store's options."""
    for value in config.store_options.values():
        if isinstance(value, SecretPlace):
            yield value


def token_secret(plan: Plan, account: str) -> Object:
    """A token of a service account, for one container of a pod that runs under another account.

    Kubernetes fills it in (the token controller).
    """
    return plan.object(
        "v1",
        "Secret",
        f"{account}-token",
        "token",
        annotations={"kubernetes.io/service-account.name": account},
        type="kubernetes.io/service-account-token",
    )


def version_of(values: Iterable[str]) -> str:
    """What stands for `values` in an annotation."""
    return digest("\0".join(values))
