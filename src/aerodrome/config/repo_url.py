"""URLs of repositories: what kind, which host, and where the same commit is seen in a browser. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["https", "http", "ssh", "file"]
Forge = Literal["github", "gitlab", "gitea", "bitbucket"]

_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^\s]+)")
_HOSTS: tuple[tuple[str, Forge], ...] = (
    ("github", "github"),
    ("gitlab", "gitlab"),
    ("bitbucket", "bitbucket"),
    ("gitea", "gitea"),
    ("forgejo", "gitea"),
    ("codeberg", "gitea"),
)
_COMMIT: dict[Forge, str] = {
    "github": "{base}/commit/{{commit}}",
    "gitlab": "{base}/-/commit/{{commit}}",
    "gitea": "{base}/commit/{{commit}}",
    "bitbucket": "{base}/commits/{{commit}}",
}


@dataclass(frozen=True)
class RepoUrl:
    """A repository's URL. ``url`` is what git is given; a path on this machine is absolute."""

    url: str
    kind: Kind
    host: str = ""
    path: str = ""
    port: int | None = None

    @classmethod
    def parse(cls, text: str, folder: Path | str | None = None) -> RepoUrl:
        """Take `text` apart; relative paths are relative to `folder` (default: stay relative).

        Raises:
            ValueError: not a URL of a repository, or one that holds a password.
        """
        if not text or text != text.strip() or re.search(r"[\x00-\x1f\x7f]", text):
            raise ValueError("must be the URL or path of a repository, without spaces around it")
        if text.startswith("-"):
            raise ValueError("must not begin with -: git would take it for an option")
        if "://" in text:
            return cls._of_url(text)
        if "::" in text:
            raise ValueError("git's remote helpers (NAME::ADDRESS) are not supported: they run programs")
        scp = _SCP.fullmatch(text)
        if scp and not text.startswith((".", "/", "~")) and "/" not in text.split(":")[0]:
            return cls(text, "ssh", scp["host"].lower(), scp["path"].lstrip("/"))
        path = Path(text).expanduser()
        if folder is not None:
            path = Path(folder) / path
        return cls(str(path), "file", path=str(path))

    @classmethod
    def _of_url(cls, text: str) -> RepoUrl:
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"is not a URL: {error}") from None
        scheme = parts.scheme.lower()
        if scheme == "file":
            if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
                raise ValueError("a file URL has three slashes and an absolute path: file:///srv/repo.git")
            return cls(text, "file", path=parts.path)
        if parts.password is not None or (parts.username and scheme in ("http", "https")):
            # The URL is shown in messages and in Airflow's UI: what it holds is never repeated here.
            raise ValueError("must not hold a user or password: name its place: credentials: {token: {env: GIT_TOKEN}}")
        if parts.query or parts.fragment:
            raise ValueError("must not hold ? or #")
        if scheme not in ("https", "http", "ssh"):
            raise ValueError(f"{scheme}:// is not supported: use https://, ssh://, git@host:path, file:/// or a path")
        if not parts.hostname:
            raise ValueError("has no host")
        if not parts.path.strip("/"):
            raise ValueError("has no path: which repository of that host?")
        kind: Kind = "https" if scheme == "https" else "http" if scheme == "http" else "ssh"
        return cls(text, kind, parts.hostname, parts.path.lstrip("/"), port)

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def commit_page(self, forge: Forge | None = None) -> str | None:
        """The page of a commit at the forge, with ``{commit}`` in place of the commit.

        Args:
            forge: kind of the forge; default: by the host's name. None is returned when that says nothing.
        """
        if self.kind == "file":
            return None
        if forge is None:
            forge = next((kind for word, kind in _HOSTS if word in self.host), None)
        if forge is None:
            return None
        scheme = "http" if self.kind == "http" else "https"
        # The port of an ssh URL is ssh's; the web page is on the usual one.
        host = f"{self.host}:{self.port}" if self.port and self.kind != "ssh" else self.host
        path = self.path.rstrip("/").removesuffix(".git").replace("{", "%7B").replace("}", "%7D")
        return _COMMIT[forge].format(base=f"{scheme}://{host}/{path}")
