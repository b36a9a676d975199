"""A configuration written as JSON is read back as the same configuration: that is how it reaches a cluster's pods."""

from __future__ import annotations

import json

import pytest

from aerodrome.config import parse
from aerodrome.config.values import duration_text, seconds, size_in_bytes, size_text

FULL = """
name: airflow
store: s3://bucket/prefix
store_options: {region: eu-west-1, access_key_id: {secret: s3, key: id}, allow_http: true}
database: {url: {secret: airflow-db, key: url}}
sync: {poll: 1m30s}
airflow: {core: {parallelism: 64, x: [1, 2]}}
teams:
  - name: payments
    repo: https://git.example.com/payments/dags.git
    dags: dags
    imports: [., dags]
    paths: [., lib]
    poll: 1500ms
    reparse: 10m
    credentials: {token: {secret: git, key: token}}
    ca: {secret: git, key: ca}
    gate: {timeout: 61s, memory: 1500Mi}
    worker: {env: {A: b, C: {secret: x, key: y}}, tolerations: [{key: a, operator: Exists}]}
  - name: risk
    repo: ssh://git@git.example.com/risk.git
    credentials: {ssh_key: {secret: git, key: ssh}, known_hosts: {secret: git, key: hosts}}
"""


def test_round_trip() -> None:
    config = parse(FULL)
    written = config.model_dump(mode="json", exclude_unset=True, by_alias=True)
    assert parse(json.dumps(written)) == config


@pytest.mark.parametrize("value", [0.25, 1.0, 1.5, 90.0, 3661.5, 86400.0])
def test_durations(value: float) -> None:
    assert seconds(duration_text(value)) == value


@pytest.mark.parametrize("value", [1000, 1024, 1536, 1 << 20, 3 << 30, 1234567])
def test_sizes(value: int) -> None:
    assert size_in_bytes(size_text(value)) == value
