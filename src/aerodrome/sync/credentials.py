"""What git may use to open a repository: lent for one command, in files of mode 0600, and taken away after it.

A token reaches git through its askpass program, an SSH key through a file: neither stands in argv, a URL or an
environment. They go to the origin (scheme, host and port) of the team's own repository and nowhere else, whatever a
redirect or a submodule says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aerodrome.config.model import Credentials, GithubApp, SshKey, Token
from aerodrome.errors import AerodromeError
from aerodrome.secrets import Masker, SecretPlace
from aerodrome.sync.github import AppTokens
from aerodrome.sync.remote import Remote


def secret_folder(state: Path) -> Path:
    """A folder of mode 0700 for files that hold secrets for a moment: in memory where the machine has such a place.

    What a killed process left there is removed: the name is the same for the same `state` and user.
    """
    mark = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:16]
    for parent, name in ((Path("/dev/shm"), f"aerodrome-{os.getuid()}-{mark}"), (state, "secrets")):  # noqa: S108
        folder = parent / name
        if _make_ours(folder):
            _remove_orphans(folder)
            return folder
    raise AerodromeError(
        f"There is no place for files that hold secrets: {state}/secrets can not be made with mode 0700.",
        f"Make {state} writable for this user.",
    )


def _make_ours(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    # In a place that everybody may write to, the name may be somebody else's: of a user who waits for our keys.
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700


def _remove_orphans(folder: Path) -> None:
    for left in folder.iterdir():
        pid, _, _ = left.name.partition("-")
        if not (pid.isdecimal() and Path(f"/proc/{pid}").exists()) or int(pid) == os.getpid():
            shutil.rmtree(left, ignore_errors=True)


@dataclass
class Keyring:
    """The credentials of one team.

    Args:
        remote: the team's repository: the origin that the credentials belong to.
        credentials: what the team declares.
        ca: the authority that vouches for that origin, PEM, when it is not one of the machine's.
        folder: from :func:`secret_folder`.
    """

    remote: Remote
    credentials: Credentials | None
    ca: SecretPlace | None
    folder: Path
    masker: Masker = field(default_factory=Masker)
    _app: AppTokens | None = None

    @contextlib.contextmanager
    def lent(self, to: Remote) -> Iterator[Mapping[str, str]]:
        """Environment that lets git open `to`, valid inside the ``with`` only. A GitHub App: after :meth:`renew`.

        Raises:
            AerodromeError: a secret can not be read, or does not fit the URL.
        """
        with contextlib.ExitStack() as stack:
            home = to.origin == self.remote.origin
            # A file repository needs no credentials, hence no folder: nothing is written when nothing is secret.
            needs_files = home and to.scheme != "file" and (self.credentials is not None or self.ca is not None)
            folder = Path(stack.enter_context(self._folder())) if needs_files else None
            yield self._environment(to, folder)

    @contextlib.contextmanager
    def _folder(self) -> Iterator[str]:
        if not _make_ours(self.folder):  # another sync of this state removed it when it ended
            raise AerodromeError(f"{self.folder} is not ours any more.", "Remove it and start again.")
        folder = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self.folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _environment(self, to: Remote, folder: Path | None) -> dict[str, str]:
        if to.scheme == "file":
            return {}
        if to.scheme == "ssh":
            return self._ssh(to, folder)
        env = {"GIT_ASKPASS": "/bin/false"} if folder is None or self.credentials is None else {}
        if folder is None:
            return env
        if self.ca is not None:
            env["GIT_SSL_CAINFO"] = str(_write(folder / "ca", self.ca.read()))
        if self.credentials is None:
            return env
        username, password = self._password()
        self.masker.add(password)
        env |= {
            "AERODROME_ORIGIN": to.origin,
            "AERODROME_USERNAME": username,
            "AERODROME_PASSWORD_FILE": str(_write(folder / "password", password)),
        }
        return env

    def _password(self) -> tuple[str, str]:
        match self.credentials:
            case Token():
                return self.credentials.username, self.credentials.token.read()
            case GithubApp():
                if self._app is None:
                    self._app = AppTokens(self.credentials.github_app, self.remote, self.ca)
                return "x-access-token", self._app.token()
        raise AerodromeError(
            f"{self.remote.url} is opened over https, and the team's credentials are an SSH key.",
            "Write the repository as git@HOST:PATH, or declare `credentials: {token: ...}`.",
        )

    def login(self) -> str | None:
        """``user:password`` for the team's own repository over HTTP, None where none is declared."""
        if self.remote.scheme not in ("http", "https") or self.credentials is None:
            return None
        username, password = self._password()
        self.masker.add(password)
        return f"{username}:{password}"

    @property
    def needs_renewal(self) -> bool:
        """Whether :meth:`renew` would ask the network."""
        return isinstance(self.credentials, GithubApp) and (self._app is None or self._app.ends_soon)

    def renew(self) -> None:
        """Exchange a GitHub App's claim for a token, if there is none that lasts. Blocks.

        Raises:
            AerodromeError: as :meth:`aerodrome.sync.github.AppTokens.token`.
        """
        if isinstance(self.credentials, GithubApp):
            self._password()

    def forget(self) -> None:
        """The server did not accept what was lent: ask for a new token next time."""
        self._app = None

    def _ssh(self, to: Remote, folder: Path | None) -> dict[str, str]:
        if folder is None:
            raise AerodromeError(
                f"There is no SSH key for {to.url}.",
                "Declare `credentials: {ssh_key: ..., known_hosts: ...}`, or open it over https.",
            )
        if not isinstance(self.credentials, SshKey):
            raise AerodromeError(
                f"{to.url} is opened over ssh, and the team's credentials are a token.",
                "Write it as https://HOST/PATH, or declare `credentials: {ssh_key: ..., known_hosts: ...}`.",
            )
        secret = self.credentials.ssh_key.read()
        self.masker.add(secret)
        key = _write(folder / "key", secret)
        hosts = _write(folder / "known_hosts", self.credentials.known_hosts.read())
        options = {
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "VerifyHostKeyDNS": "no",
            "BatchMode": "yes",
            "PreferredAuthentications": "publickey",
            "ForwardAgent": "no",
            "ClearAllForwardings": "yes",
            "ControlMaster": "no",
            "ControlPath": "none",
            "ConnectTimeout": "15",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        words = ["ssh", "-F", "/dev/null", "-i", str(key)]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}


def _write(path: Path, text: str) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text.rstrip("\r\n") + "\n")
    return path


def _quoted(path: Path) -> str:
    """`path` as ssh_config(5) wants it: a list of words, with % for tokens."""
    return '"' + str(path).replace("%", "%%") + '"'
