"""Names: teams, snapshots and what is derived from them. Pure."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping

TEAM = re.compile(r"[a-z][a-z0-9-]{2,39}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
SNAPSHOT = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})(?:-([0-9a-f]{8}))?")


def airflow_team(team: str) -> str:
    """Airflow's name of a team: ``-`` can not stand in an environment variable, hence ``_``."""
    return team.replace("-", "_")


def snapshot_id(commit: str, settings: Mapping[str, object]) -> str:
    """The id of the snapshot of `commit` under `settings`.

    Args:
        commit: full object name, 40 or 64 hex digits.
        settings: only those settings that change the snapshot's bytes and differ from the default
            (``paths``, ``submodules``, ``lfs``); JSON-serializable.
    """
    if not settings:
        return commit
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return f"{commit}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def commit_of(snapshot: str) -> str:
    """The commit that a snapshot id begins with.

    Raises:
        ValueError: `snapshot` is not a snapshot id.
    """
    match = SNAPSHOT.fullmatch(snapshot)
    if match is None:
        raise ValueError(f"not a snapshot id: {snapshot!r}")
    return match[1]


def short(snapshot: str) -> str:
    """Nine digits of the commit, as people read it; the digits of the settings stay."""
    commit, _, settings = snapshot.partition("-")
    return f"{commit[:9]}-{settings}" if settings else commit[:9]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word of `words` that `word` was most likely meant to be, if any."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return found[0] if found else None
