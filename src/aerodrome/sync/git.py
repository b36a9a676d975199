"""How the git program is run: nothing of the machine's, the user's or the repository's configuration has an effect."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from aerodrome import process
from aerodrome.errors import AerodromeError

# What git itself calls faults, that real repositories carry in old commits and that harm nobody; everything else that
# its fsck knows (names that lead out, .gitmodules that run programs, ...) stays refused. See git-fsck(1), MESSAGES.
_HARMLESS = (
    "zeroPaddedFilemode",
    "badTimezone",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
    "missingEmail",
    "badEmail",
    "badName",
    "zeroPaddedDate",
    "badDateOverflow",
    "missingTaggerEntry",
    "badTagName",
    "nulInCommit",
)

_CONFIG: Mapping[str, str] = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.bigFileThreshold": "32m",
    "core.packedGitLimit": "256m",
    "credential.helper": "",
    "protocol.version": "2",
    "transfer.fsckObjects": "true",
    **{f"fetch.fsck.{what}": "ignore" for what in _HARMLESS},
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "1",
    # A connection that says nothing for this long is dead: an orphan of a killed sync ends by itself, too.
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "http.followRedirects": "initial",
}

# The way to the network is the machine's affair; who vouches for a server is, too, unless the team names a CA.
PROXIES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_FROM_MACHINE = (*PROXIES, "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAPATH", "TMPDIR")
_CA_BUNDLES = ("GIT_SSL_CAINFO", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")

_ASKPASS = """\
#!/bin/sh
# Answers git's question for a password, for the one origin that it belongs to and no other.
case "$1" in
"Username for '$AERODROME_ORIGIN': ") printf '%s\\n' "$AERODROME_USERNAME" ;;
"Password for '${AERODROME_ORIGIN%%://*}://"*"@${AERODROME_ORIGIN#*://}': ") exec cat "$AERODROME_PASSWORD_FILE" ;;
*) exit 1 ;;
esac
"""


def ca_bundle() -> str | None:
    """The file of authorities that this machine's environment names, to git, OpenSSL, curl or requests."""
    return next((os.environ[name] for name in _CA_BUNDLES if os.environ.get(name)), None)


class Git:
    """The git program, with an empty home of its own.

    Args:
        folder: where the home and the askpass program are kept; made when missing.
        memory: bytes of memory that one git process may use.

    Raises:
        AerodromeError: there is no git, or it is too old.
    """

    def __init__(self, folder: Path, *, memory: int = 2 << 30) -> None:
        program = shutil.which("git")
        if program is None:
            raise AerodromeError("There is no `git` program on this machine.", "Install it: apt-get install git")
        self._program = program
        self._ceilings = {resource.RLIMIT_DATA: memory, resource.RLIMIT_CORE: 0}
        self._home = folder / "home"
        self._home.mkdir(parents=True, exist_ok=True)
        self._askpass = folder / "askpass"
        aside = folder / f"askpass.{os.getpid()}"
        aside.write_text(_ASKPASS)
        aside.chmod(0o700)
        aside.replace(self._askpass)

    def environment(
        self, extra: Mapping[str, str] | None = None, config: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The complete environment of a git child: from scratch, then `extra`; `config` is on top of ours."""
        env = {name: os.environ[name] for name in _FROM_MACHINE if name in os.environ}
        env |= {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": str(self._askpass),
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
        }
        if bundle := ca_bundle():
            env["GIT_SSL_CAINFO"] = bundle
        env |= extra or {}
        settings = {**_CONFIG, **(config or {})}
        env["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings.items()):
            env[f"GIT_CONFIG_KEY_{number}"] = key
            env[f"GIT_CONFIG_VALUE_{number}"] = value
        return env

    async def run(
        self,
        *arguments: str,
        timeout: float,
        extra: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        keep: Collection[int] = (),
        largest_file: int | None = None,
        cwd: Path | None = None,
    ) -> process.Completed:
        """Run git to its end.

        Args:
            timeout: seconds.
            extra: environment on top, such as a :class:`~aerodrome.sync.credentials.Keyring` lends.
            config: Git settings on top.
            keep: file descriptors that git inherits.
            largest_file: bytes that no file may exceed which git writes.

        Raises:
            aerodrome.process.TimedOut: at the deadline.
        """
        ceilings = dict(self._ceilings)
        if largest_file is not None:
            ceilings[resource.RLIMIT_FSIZE] = largest_file
        return await process.run_async(
            [self._program, *arguments],
            timeout=timeout,
            env=self.environment(extra, config),
            keep=keep,
            ceilings=ceilings,
            cwd=cwd or self._home,
        )

    def dialog(self, *arguments: str, timeout: float) -> process.Dialog:
        """Start a git that is asked and answers; it reads objects and needs no network."""
        return process.Dialog(
            [self._program, *arguments], timeout=timeout, env=self.environment(), ceilings=self._ceilings
        )
