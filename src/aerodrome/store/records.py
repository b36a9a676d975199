"""The records of the store's contract: frozen, typed, in UTC. Fields that a newer version adds are ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

Why = Literal["gate", "rollback", "resume"]
Time = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)  # a worker needs one of them


class Manifest(Record):
    """What an archive holds. ``digest`` is ``sha256:`` and the hex digits of the archive's bytes."""

    snapshot: str
    commit: str
    author: str
    subject: str
    time: Time
    digest: str
    size: int
    """Bytes of the archive."""
    unpacked: int
    """Bytes of all files."""
    files: int
    settings: dict[str, Any] = {}


class Head(Record):
    """What the tracked ref is at. ``error`` is the last error of fetching; ``snapshot`` stays what it was."""

    snapshot: str | None
    commit: str | None
    ref: str
    seen: Time
    by: Literal["poll", "webhook"] = "poll"
    error: str | None = None
    recheck: Time | None = None
    """When somebody last asked for the snapshot to be judged again."""


class Finding(Record):
    """One thing that the gate has to say; ``line`` counts from 1."""

    kind: str
    file: str | None = None
    line: int | None = None
    message: str
    remedy: str = ""
    severity: Literal["error", "warning"] = "error"


class Verdict(Record):
    """The gate's answer on one snapshot. ``hash`` is of what else decided: policy, environment, versions."""

    snapshot: str
    hash: str
    passed: bool
    findings: tuple[Finding, ...] = ()
    judged: Time
    seconds: float = 0.0
    dag_ids: tuple[str, ...] = ()
    files: int = 0
    external: bool = False
    """The cause may lie outside Git: judged again by itself."""


class Current(Record):
    """The pointer to what is live, and the record of the move that brought it there."""

    number: int
    snapshot: str
    previous: str | None
    when: Time
    why: Why
    who: str
    pinned: bool = False
