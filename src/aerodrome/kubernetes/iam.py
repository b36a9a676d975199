"""The smallest policies for the store, for S3: of each team's workers and of the platform. Pure.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aerodrome.config import Config, Team

Policy = dict[str, Any]


def policies(config: Config) -> dict[str, Policy]:
    """Policy documents by name; none for stores other than S3, which have roles and no such documents."""
    url = urlsplit(config.store or "")
    if url.scheme not in ("s3", "s3a"):
        return {}
    prefix = url.path.strip("/")
    keys = _Keys(url.netloc, f"{prefix}/" if prefix else "")
    return {
        "platform": _platform(keys),
        **{f"worker-{team.name}": _worker(keys, team) for team in config.teams},
    }


class _Keys:
    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = f"arn:aws:s3:::{bucket}"
        self.prefix = prefix

    def objects(self, *patterns: str) -> list[str]:
        return [f"{self.bucket}/{self.prefix}{pattern}" for pattern in patterns]


def _platform(keys: _Keys) -> Policy:
    """Sync, processors, triggerers and the UI: everything below the prefix."""
    return _policy(
        _allow("Objects", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], keys.objects("*")),
        _list(keys, [f"{keys.prefix}*"]),
        _allow("Multipart", ["s3:AbortMultipartUpload"], keys.objects("*")),
    )


def _worker(keys: _Keys, team: Team) -> Policy:
    """A task: the team's snapshots to read; its logs to write, and to read where an attempt goes on.

    Airflow's log path begins with the dag_id: a ``gate.dag_id_prefix`` closes other teams' logs.
    """
    logs = f"logs/dag_id={team.gate.dag_id_prefix}*"
    snapshots = f"teams/{team.name}/snapshots/*"
    return _policy(
        _allow("Snapshots", ["s3:GetObject"], keys.objects("store.json", snapshots, f"teams/{team.name}/current.json")),
        _allow("Logs", ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], keys.objects(logs)),
        _list(keys, [f"{keys.prefix}{snapshots}", f"{keys.prefix}{logs}"]),
    )


def _list(keys: _Keys, prefixes: list[str]) -> Policy:
    # Without it S3 answers 403 where it should say 404. "IfExists": asking for one object has no prefix to compare.
    return {
        **_allow("Names", ["s3:ListBucket"], [keys.bucket]),
        "Condition": {"StringLikeIfExists": {"s3:prefix": prefixes}},
    }


def _allow(sid: str, actions: list[str], resources: Sequence[str]) -> Policy:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources)}


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}
