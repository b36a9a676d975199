"""What went wrong at a repository, in words that its team can act on. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from aerodrome.errors import AerodromeError, Temporary
from aerodrome.sync.remote import without_password


class RepositoryFailure(Temporary):
    """The repository could not be read; what is live stays live, and the next poll tries again.

    Attributes:
        throttled: the server asked for fewer requests.
        slow: it was given up at its time limit.
    """

    throttled = False
    slow = False


class CredentialsRefused(RepositoryFailure):
    """The server does not accept what the team declares."""


class RefMissing(RepositoryFailure):
    """The tracked ref is not (or no longer) in the repository."""


class EmptyRepository(RepositoryFailure):
    """The repository has no commit yet."""


class SnapshotRefused(AerodromeError):
    """A commit that can not be a snapshot: a limit, a name, a link. The same commit will be refused again."""


class MirrorDamaged(Exception):
    """Git can not read an object that the mirror should hold; a new mirror mends it."""


# Told by what git, curl and ssh say (git 2.39 to 2.51, curl 7.88 to 8, OpenSSH 9): (pattern, what, remedy). The first
# match wins.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No \S+ host key is known",
        "the server's SSH host key is not the one in known_hosts",
        "Compare the key with the forge's published one and put it into the team's `known_hosts`.",
    ),
    (
        r"Permission denied \(|Load key .*: |sign_and_send_pubkey|Too many authentication failures",
        "the server does not accept the SSH key",
        "Check the team's `ssh_key`, and that it may read this repository.",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|error: 40[13]\b|HTTP 40[13]"
        r"|terminal prompts disabled|HTTP Basic: Access denied|unable to read askpass",
        "the server does not accept the credentials",
        "Check the team's `credentials`: whether the token is valid, and may read this repository.",
    ),
    (
        r"error: 429|HTTP 429|Too Many Requests|rate limit",
        "the server throttles requests (429)",
        "Nothing to do at once: polling slows down by itself. Raise the team's `poll`, or give it a token of its own.",
    ),
    (
        r"error: 5\d\d|HTTP 5\d\d",
        "the server answers with an error of its own",
        "Look at the forge's status; it is tried again by itself.",
    ),
    (
        r"certificate|SSL_ERROR|gnutls_handshake|SSL routines|server verification failed|CAfile",
        "the server's TLS certificate is not trusted",
        "Name the authority's certificate with the team's `ca`.",
    ),
    (
        r"Could not resolve|Name or service not known|Temporary failure in name resolution",
        "the server's name can not be resolved",
        "Check the host in `repo`, and the machine's name service.",
    ),
    (
        r"Failed to connect|Connection refused|Connection timed out|No route to host|Network is unreachable"
        r"|Operation timed out|Couldn't connect|Connection reset|Connection closed|timed out",
        "the server can not be reached",
        "Check the host in `repo`, and whether this machine may reach it; it is tried again by itself.",
    ),
    (
        r"dubious ownership",
        "the repository's folder belongs to another user",
        "Run Aerodrome as the folder's owner, or give the folder to its user.",
    ),
    (
        r"not our ref|unadvertised object|no such remote ref|couldn't find remote ref|did not match any",
        "the server does not give out this ref or commit",
        "Check the team's `ref`.",
    ),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|error: 404|not found|does not exist"
        r"|No such file or directory|info/refs not valid",
        "there is no such repository, or the credentials may not see it",
        "Check the team's `repo` and `credentials`.",
    ),
    (
        r"fsck error|badTree|hasDot|treeNotSorted|fullPathname|nullSha1|gitmodules(Url|Path|Name|Parse|Symlink|Update)",
        "git's check of what arrived (fsck) refuses an object",
        "Find it with `git fsck --strict` in a clone, and rewrite the commit that brought it.",
    ),
    (
        r"File size limit exceeded|signal 25|File too large",
        "what the commit needs is larger than the limit of a snapshot",
        "Take large files out of the repository, or raise the limit.",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "the disk of sync is full",
        "Make room in the state folder; it is tried again by itself.",
    ),
    (
        r"early EOF|unexpected disconnect|hung up unexpectedly|transfer closed|RPC failed|expected flush"
        r"|invalid index-pack|bytes of length header|protocol error|bad line length",
        "the connection broke off",
        "It is tried again by itself.",
    ),
)
_TELLING = re.compile(r"^(fatal|error|remote|ERROR|ssh|curl|batch|LFS)\b|Permission denied|verification failed")


def reason(stderr: str) -> str:
    """The one line of git's output that says most: its ``fatal:`` line, else the first error. No password in it."""
    # How long curl waited differs every time; the same failure shall be told in the same words.
    lines = [re.sub(r" after \d+ ms", "", line).strip() for line in stderr.splitlines() if line.strip()]
    for wanted in (lambda line: line.startswith("fatal:"), _TELLING.search):
        if found := [line for line in lines if wanted(line)]:
            return _plain(found[0])
    return _plain(lines[-1]) if lines else "it ended without a word"


def _plain(line: str) -> str:
    """A line that a server may have written: without passwords, and without what would steer a terminal."""
    return without_password("".join(letter if letter.isprintable() else "?" for letter in line))[:300]


def failure(doing: str, stderr: str) -> RepositoryFailure:
    """What to tell the team when git failed `doing` (such as ``"look at https://... "``), by what it said."""
    for pattern, what, remedy in _KNOWN:
        if re.search(pattern, stderr):
            kind = CredentialsRefused if "accept" in what else RepositoryFailure
            error = kind(f"Can not {doing}: {what} ({reason(stderr)}).", remedy)
            error.throttled = "429" in what
            return error
    return RepositoryFailure(f"Can not {doing}: {reason(stderr)}", "It is tried again by itself.")


def too_slow(doing: str, seconds: float) -> RepositoryFailure:
    """Git was still `doing` after `seconds`."""
    error = RepositoryFailure(
        f"Can not {doing}: no end after {seconds:g} s.",
        "Check whether the server answers; make the repository smaller, or raise the limit.",
    )
    error.slow = True
    return error


def names_for_people(names: Collection[str], *, at_most: int = 5) -> str:
    """The first names, and how many more."""
    shown = ", ".join(repr(name) if not name.isprintable() else name for name in sorted(names)[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown
