"""Keys and passwords that Aerodrome makes itself: once, in files of mode 0600, never shown and never changed."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aerodrome.errors import AerodromeError
from aerodrome.local.state import State, write_private


@dataclass(frozen=True, repr=False)
class Keys:
    """Airflow's keys. Which component gets which: :func:`aerodrome.local.environment.component`.

    Args:
        fernet: encrypts connections and variables in the database.
        jwt: signs the tokens of tasks and of the UI.
        api: signs what the api-server hands out and takes back.
    """

    fernet: str
    jwt: str
    api: str

    @classmethod
    def of(cls, state: State) -> Keys:
        """The keys of `state`; those that are missing are made."""
        return cls(
            fernet=_once(state.secrets / "fernet_key", base64.urlsafe_b64encode(os.urandom(32)).decode()),
            jwt=_once(state.secrets / "jwt_secret", secrets.token_urlsafe(48)),
            api=_once(state.secrets / "api_secret", secrets.token_urlsafe(48)),
        )


def ensure_passwords(state: State, users: Iterable[str]) -> dict[str, str]:
    """Give each of `users` a password unless it has one. Returns all passwords by user.

    Airflow would make them as well, but print them into its log.

    Raises:
        AerodromeError: the file of passwords is not JSON.
    """
    path = state.passwords
    known: dict[str, str] = {}
    if path.exists():
        try:
            known = {str(user): str(password) for user, password in json.loads(path.read_text()).items()}
        except (ValueError, AttributeError):
            raise AerodromeError(
                f"{path} does not hold passwords", "Remove it: new passwords are made at the next start."
            ) from None
    missing = {user: secrets.token_urlsafe(12) for user in users if user not in known}
    if missing or not path.exists():
        write_private(path, json.dumps(known | missing, indent=2) + "\n")
    return known | missing


def _once(path: Path, value: str) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        write_private(path, value)
        return value
