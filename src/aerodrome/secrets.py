"""Places of secrets. The configuration names the place; the value is read where it is used, when it is used."""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aerodrome.errors import AerodromeError

SECRETS_FOLDER = "AERODROME_SECRETS"
"""Environment variable: the folder that Kubernetes Secrets are mounted in, as ``<folder>/<secret>/<key>``."""

_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class SecretPlace:
    """Where a secret is: ``env``, or ``file``, or ``secret`` and ``key`` (of a Kubernetes Secret beside the platform).

    Raises:
        ValueError: not exactly one place, or a name that can not be one. The text never repeats what was given.
    """

    env: str | None = None
    file: str | None = None
    secret: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.env, self.file, self.secret)) != 1:
            raise ValueError("name exactly one place: {env: NAME}, {file: PATH} or {secret: NAME, key: KEY}")
        if (self.secret is None) != (self.key is None):
            raise ValueError("a Kubernetes Secret needs both: {secret: NAME, key: KEY}")
        if self.env is not None and not _ENV.fullmatch(self.env):
            raise ValueError("env must be the name of an environment variable, for example GIT_TOKEN")
        if self.file is not None and (not self.file or "\0" in self.file):
            raise ValueError("file must be a path")
        if self.secret is not None and not _SECRET.fullmatch(self.secret):
            raise ValueError("secret must be the name of a Kubernetes Secret: lower-case letters, digits, - and .")
        if self.key is not None and (not _KEY.fullmatch(self.key) or self.key in (".", "..")):
            raise ValueError("key must be a key of a Kubernetes Secret: letters, digits, -, _ and .")

    @classmethod
    def of(cls, place: Mapping[str, str]) -> SecretPlace:
        """The place written as in the configuration, the inverse of :meth:`mapping`.

        Raises:
            ValueError: as the constructor, and for an unknown key.
        """
        unknown = sorted(set(place) - {"env", "file", "secret", "key"})
        if unknown:
            raise ValueError(
                f"a place has no key {unknown[0]!r}: write {{env: NAME}}, {{file: PATH}} or {{secret: NAME, key: KEY}}"
            )
        return cls(**place)

    def mapping(self) -> dict[str, str]:
        """The place as it is written in the configuration."""
        pairs = (("env", self.env), ("file", self.file), ("secret", self.secret), ("key", self.key))
        return {name: value for name, value in pairs if value is not None}

    def describe(self) -> str:
        """The place in words, for messages."""
        if self.env is not None:
            return f"environment variable {self.env}"
        if self.file is not None:
            return f"file {self.file}"
        return f"key {self.key} of the Kubernetes Secret {self.secret}"

    def path(self) -> Path | None:
        """The file that holds the value on this machine; None for an environment variable.

        Raises:
            AerodromeError: a Kubernetes Secret on a machine where none are mounted.
        """
        if self.env is not None:
            return None
        if self.file is not None:
            return Path(self.file)
        folder = os.environ.get(SECRETS_FOLDER)
        if not folder:
            raise AerodromeError(
                f"the {self.describe()} can not be read on this machine: no Kubernetes Secrets are mounted here",
                f"Set {SECRETS_FOLDER} to a folder that holds {self.secret}/{self.key}, or name an env or file place.",
            )
        assert self.secret is not None and self.key is not None
        return Path(folder) / self.secret / self.key

    def read(self) -> str:
        """The value now, without line ends at its end; a file is read again each time, so that rotation works.

        Raises:
            AerodromeError: the place does not exist, is empty or can not be read.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise AerodromeError(f"the {self.describe()} is not set", f"Set {self.env} and start again.")
        else:
            value = self._read_file()
        value = value.rstrip("\r\n")
        if not value:
            raise AerodromeError(f"the {self.describe()} is empty", "Write the secret into it.")
        return value

    def _read_file(self) -> str:
        path = self.path()
        assert path is not None
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else f"can not be read: {error.strerror}"
            where = "" if self.file is not None else f" ({path})"
            raise AerodromeError(
                f"the {self.describe()}{where} {reason}", "Create it, readable for this user."
            ) from None
        if len(data) > _LARGEST:
            raise AerodromeError(f"the {self.describe()} is larger than 1 MiB: no secret", "Name the right file.")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise AerodromeError(f"the {self.describe()} is not text in UTF-8", "Name the right file.") from None


def missing(places: Iterable[SecretPlace]) -> list[AerodromeError]:
    """What stands in the way of reading each of `places` on this machine; empty when all can be read."""
    found = []
    for place in dict.fromkeys(places):
        try:
            place.read()
        except AerodromeError as error:
            found.append(error)
    return found


def resolve(options: Mapping[str, str | Mapping[str, str] | SecretPlace]) -> dict[str, str]:
    """`options` with every place replaced by what is in it.

    A place may be written as in the configuration, because settings travel as JSON in the environment and must not
    carry the value.

    Raises:
        AerodromeError: as :meth:`SecretPlace.read`.
    """
    values = {}
    for name, value in options.items():
        if isinstance(value, str):
            values[name] = value
        else:
            values[name] = (value if isinstance(value, SecretPlace) else SecretPlace.of(value)).read()
    return values


class Masker:
    """Removes secrets from texts of other programs, also URL-quoted and in Base64 (as in an Authorization header)."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask `secret` from now on; of one with several lines (a key) each long line too."""
        secret = secret.strip()
        forms = set(self._forms)
        for text in {secret, *(line.strip() for line in secret.splitlines() if len(line.strip()) >= 16)}:
            if not text:
                continue
            forms |= {
                text,
                urllib.parse.quote(text),
                urllib.parse.quote(text, safe=""),
                urllib.parse.quote_plus(text),
                *_base64_forms(text.encode()),
            }
        # The longest first: a form that holds another one must go as a whole.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def mask(self, text: str) -> str:
        """`text` with every known form of every secret replaced by ``***``."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text


def _base64_forms(data: bytes) -> set[str]:
    """How `data` looks inside a Base64 text, whatever stands before and behind it ("user:" before a password)."""
    forms = set()
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + data).rstrip(b"=")
        # A character holds 6 bits: those that share bits with a neighbor are cut off.
        first = (shift * 8 + 5) // 6
        last = (shift + len(data)) * 8 // 6
        inside = whole[first:last].decode()
        if len(inside) >= 6:
            forms |= {inside, inside.translate(str.maketrans("+/", "-_"))}
    return forms
