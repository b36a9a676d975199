"""Keys and passwords that the platform makes itself: once, by ``apply``, and never changed after."""

from __future__ import annotations

import base64
import json
import secrets as random
from collections.abc import Callable, Mapping

from aerodrome.config import Config
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes.database_server import DATABASE as DATABASE_NAME
from aerodrome.kubernetes.database_server import USER
from aerodrome.kubernetes.objects import secrets
from aerodrome.kubernetes.objects.network import DATABASE_PORT
from aerodrome.kubernetes.objects.plan import Object, Plan

Data = dict[str, str]
"""Keys of a Secret to values in clear."""


def missing(config: Config, present: Mapping[str, Mapping[str, str]]) -> dict[str, Data]:
    """What has to be made: name of a Secret to the whole of its new content. What is there stays as it is.

    Args:
        present: the content of the Secrets that exist, by name.

    Raises:
        AerodromeError: the Secret of passwords is not what Airflow reads.
    """
    plan = Plan(config)
    found = {}
    for component in secrets.generated(config):
        name = plan.name(component)
        there = dict(present.get(name, {}))
        made = _logins(config, name, there) if component == secrets.LOGINS else _MAKERS[component](plan, there)
        if made != there:
            found[name] = made
    return found


def secret(config: Config, name: str, data: Data) -> Object:
    """The Secret `name` with `data`."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in sorted(data.items())}
    return Plan(config).object("v1", "Secret", name, "generated", type="Opaque", data=encoded)


def _with(there: Data, key: str, make: Callable[[], str]) -> Data:
    return there if there.get(key) else {**there, key: make()}


def _fernet(plan: Plan, there: Data) -> Data:
    return _with(there, "key", lambda: base64.urlsafe_b64encode(random.token_bytes(32)).decode())


def _api(plan: Plan, there: Data) -> Data:
    return _with(there, "key", lambda: random.token_urlsafe(48))


def _database(plan: Plan, there: Data) -> Data:
    there = _with(there, "password", lambda: random.token_urlsafe(32))
    host = f"{plan.name('database')}.{plan.namespace}.svc:{DATABASE_PORT}"
    return _with(there, "url", lambda: f"postgresql+psycopg2://{USER}:{there['password']}@{host}/{DATABASE_NAME}")


def _private_key(plan: Plan, there: Data) -> Data:
    return _with(there, secrets.PRIVATE_KEY, _ed25519)


def _ed25519() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _logins(config: Config, name: str, there: Data) -> Data:
    try:
        known = {
            str(user): str(password) for user, password in json.loads(there.get(secrets.PASSWORDS) or "{}").items()
        }
    except (ValueError, AttributeError):
        raise AerodromeError(
            f"the key {secrets.PASSWORDS} of the Secret {name} does not hold passwords",
            f"Delete the Secret: kubectl -n {config.name} delete secret {name}; the next apply makes new ones.",
        ) from None
    new = {user.name: random.token_urlsafe(12) for user in config.auth.simple.users if user.name not in known}
    if not new and secrets.PASSWORDS in there:
        return there
    return {**there, secrets.PASSWORDS: json.dumps(known | new)}


_MAKERS: dict[str, Callable[[Plan, Data], Data]] = {
    secrets.API: _api,
    secrets.DATABASE: _database,
    secrets.FERNET: _fernet,
    secrets.TASK_KEY: _private_key,
    secrets.UI_KEY: _private_key,
}
