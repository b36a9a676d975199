"""Where a repository is: its URL, taken apart as Git does it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from aerodrome.config.repo_url import RepoUrl
from aerodrome.errors import AerodromeError


@dataclass(frozen=True)
class Remote:
    """A repository's place.

    Attributes:
        url: what git is given: never with a password in it.
        scheme: ``https``, ``http``, ``ssh`` or ``file``.
        host: host, with ``:port`` where the URL has one; empty for ``file``.
    """

    url: str
    scheme: str
    host: str

    @property
    def origin(self) -> str:
        """Scheme and host: credentials are given to the same origin only. Git names it in its password prompts so."""
        return f"{self.scheme}://{self.host}"

    def may_lead_to(self, other: Remote) -> bool:
        """Whether a submodule of this repository may lie at `other`: a repository never opens a way that its own
        declaration does not use already (files of this machine, or a line without encryption)."""
        return other.scheme in {"https", "ssh", self.scheme}

    def relative(self, url: str) -> str:
        """The URL of a submodule given as `url`, which is relative when it begins with ``./`` or ``../``.

        Git's rule (git-submodule(1), "add"): relative to the URL of the repository, taken as a folder.
        """
        if not url.startswith(("./", "../")):
            return url
        prefix, path = self._split()
        parts = [part for part in path.split("/") if part]
        for step in url.split("/"):
            if step == "..":
                if not parts:
                    raise AerodromeError(
                        f"The submodule URL {url!r} leads out of {self.url}.", "Mend its url in .gitmodules."
                    )
                parts.pop()
            elif step not in {"", "."}:
                parts.append(step)
        return prefix + "/".join(parts)

    def at(self, path: str) -> str:
        """The URL of `path` on the same host, opened the same way."""
        return self._split()[0] + path

    def _split(self) -> tuple[str, str]:
        """What stays of the URL whatever the path, and the path."""
        scheme, found, rest = self.url.partition("://")
        if found:
            host, _, path = rest.partition("/")
            return f"{scheme}://{host}/", path
        host, _, path = self.url.partition(":")
        return (f"{host}:/" if path.startswith("/") else f"{host}:"), path


def parse(repo: str) -> Remote:
    """The place that `repo` names: ``https://``, ``http://``, ``ssh://``, ``git@host:path``, ``file://`` or a path.

    Raises:
        AerodromeError: none of these, or it holds a password.
    """
    try:
        found = RepoUrl.parse(repo)
        if found.kind == "file" and not found.path.startswith("/"):
            raise ValueError("must be an absolute path")
    except ValueError as error:
        raise AerodromeError(
            f"The repository {without_password(repo)!r} {error}.", "Write https://HOST/PATH or git@HOST:PATH."
        ) from None
    if found.kind == "file":
        # As a URL git goes the same way as over a network: no hard links into, no shortcuts through a foreign folder.
        return Remote(found.url if "://" in found.url else f"file://{quote(found.path)}", "file", "")
    if found.host.startswith("-"):
        raise AerodromeError(f"The repository {repo!r} names no host.", "A host never begins with a dash.")
    return Remote(found.url, found.kind, f"{found.host}:{found.port}" if found.port else found.host)


def without_password(text: str) -> str:
    """`text` without user names and passwords in its URLs."""
    return re.sub(r"(://)[^/@\s'\"]*@", r"\1", text)
