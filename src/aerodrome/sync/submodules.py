"""Submodules: what a commit names, in other repositories, fetched under the rules of the team's own."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aerodrome.config.model import Limits
from aerodrome.errors import AerodromeError
from aerodrome.sync.failures import SnapshotRefused
from aerodrome.sync.git import Git
from aerodrome.sync.mirror import Mirror
from aerodrome.sync.remote import Remote, parse
from aerodrome.sync.snapshot import Listing

_MOST = 200
_DEEPEST = 10


@dataclass(frozen=True)
class Source:
    """A repository that a snapshot takes files from: where it is, its mirror, which commit, and under which path."""

    remote: Remote
    mirror: Mirror
    listing: Listing
    under: str = ""


Fetch = Callable[[Remote, str, str], Awaitable[Source]]
"""Fetch a commit of a remote for the given path of the snapshot."""


async def resolve(git: Git, root: Source, fetch: Fetch, limits: Limits) -> list[Source]:
    """`root` and all its submodules, and theirs.

    Raises:
        SnapshotRefused: a submodule without a URL, with one that is not allowed, or too many of them.
        RepositoryFailure: one could not be fetched.
    """
    found: list[Source] = []
    todo = [(root, 0)]
    while todo:
        source, depth = todo.pop()
        found.append(source)
        if len(found) > _MOST or depth > _DEEPEST:
            raise SnapshotRefused(
                f"There are more than {_MOST} submodules, or more than {_DEEPEST} inside one another.",
                "Leave some out with the team's `paths`.",
            )
        if sum(len(each.listing.files) for each in found) > limits.files:
            raise SnapshotRefused(
                f"The commit and its submodules have more than {limits.files:,} files.",
                "Leave folders out with the team's `paths`, or raise `limits: {files: ...}`.",
            )
        if not source.listing.submodules:
            continue
        urls = await _urls(git, source, limits)
        for path, commit in sorted(source.listing.submodules.items()):
            todo.append((await fetch(_remote(source, path, urls), commit, path), depth + 1))
    return found


def _remote(source: Source, path: str, urls: Mapping[str, str]) -> Remote:
    parent = source.remote
    url = urls.get(path.removeprefix(f"{source.under}/") if source.under else path)
    if url is None:
        raise SnapshotRefused(f"The submodule {path} has no url in .gitmodules.", "Add it, or remove the submodule.")
    try:
        remote = parse(_same_way(parent, parent.relative(url)))
    except AerodromeError as error:
        raise SnapshotRefused(f"The submodule {path}: {error.what}", error.remedy) from None
    if not parent.may_lead_to(remote):
        raise SnapshotRefused(
            f"The submodule {path} is opened over {remote.scheme} ({remote.url}), and its parent is not.",
            "Use an https, ssh or relative URL in .gitmodules.",
        )
    return remote


def _same_way(parent: Remote, url: str) -> str:
    """A submodule on the host of its parent goes the parent's way (https or ssh): that is what credentials are for."""
    with contextlib.suppress(AerodromeError):
        remote = parse(url)
        host = parent.host.partition(":")[0]
        if (
            remote.scheme != parent.scheme
            and remote.host == host
            and {remote.scheme, parent.scheme} == {"https", "ssh"}
        ):
            path = url.split("://")[-1].partition("/")[2] if "://" in url else url.partition(":")[2].lstrip("/")
            return f"https://{parent.host}/{path}" if parent.scheme == "https" else parent.at(path)
    return url


async def _urls(git: Git, source: Source, limits: Limits) -> dict[str, str]:
    if source.listing.modules is None:
        return {}
    arguments = ("--git-dir", str(source.mirror.folder), "config", "--blob", source.listing.modules, "-z", "--list")
    done = await git.run(*arguments, timeout=limits.fetch)
    if done.code:
        raise SnapshotRefused(f".gitmodules can not be read: {done.error}", "Mend it.")
    fields: dict[str, dict[str, str]] = {}
    for item in done.stdout.decode(errors="replace").split("\0"):
        key, _, value = item.partition("\n")
        section, _, rest = key.partition(".")
        name, _, field = rest.rpartition(".")
        if section == "submodule" and name:
            fields.setdefault(name, {})[field] = value
    return {each["path"].rstrip("/"): each["url"] for each in fields.values() if each.keys() >= {"path", "url"}}
