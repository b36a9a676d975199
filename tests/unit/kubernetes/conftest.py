"""Configurations for the tests of manifests."""

from __future__ import annotations

import pytest

from aerodrome.config import Config, parse

SMALL = """
name: airflow
store: s3://bucket/prefix
store_options: {region: eu-west-1, access_key_id: {secret: s3, key: id}, secret_access_key: {secret: s3, key: secret}}
teams:
  - {name: payments, repo: https://git.example.com/payments.git, quota: {pods: 20}}
  - name: risk-models
    repo: https://git.example.com/risk.git
    triggerer: false
    credentials: {token: {secret: git, key: risk}}
"""

FULL = """
name: air
store: s3://bucket
store_options: {region: eu-west-1, server_side_encryption: aws:kms}
database: {url: {secret: air-db, key: url}}
auth: {manager: airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager}
airflow: {core: {parallelism: 64}}
kubernetes:
  topology: split
  image: registry.example.com/aerodrome:1.0
  image_pull_policy: Always
  image_pull_secrets: [regcred]
  components:
    scheduler:
      replicas: 2
      resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 2Gi}}
      node_selector: {pool: platform}
      tolerations: [{key: platform, operator: Exists}]
      annotations: {example.com/a: b}
    sync: {service_account_annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/sync"}}
  ingress: {host: airflow.example.com, class: nginx, tls_secret: airflow-tls, annotations: {a/b: c}}
  cloud_metadata: eks-pod
  patches:
    - kind: Deployment
      metadata: {name: air-sync}
      spec: {template: {spec: {containers: [{name: sync, env: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]}]}}}
teams:
  - name: payments
    repo: https://git.example.com/payments.git
    image: registry.example.com/payments:1.4
    namespace: pay
    connections_from: {secret: payments-connections}
    gate: {dag_id_prefix: payments_, memory: 2Gi}
    quota: {cpu: 20, memory: 64Gi, pods: 50}
    worker:
      resources: {requests: {cpu: 1, memory: 2Gi}, limits: {memory: 2Gi}}
      service_account: tasks
      service_account_annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/payments"}
      node_selector: {pool: tasks}
      tolerations: [{key: spot, value: "true", effect: NoSchedule}]
      annotations: {example.com/cost: payments}
      env: {MODE: production, TOKEN: {secret: payments-token, key: token}, ODD: "a$(b)"}
      volumes: [{name: data, mount: /data, read_only: true, source: {persistentVolumeClaim: {claimName: data}}}]
      delete_pods: on-success
      standby: 2
      snapshots: {medium: disk, size: 4Gi}
"""


@pytest.fixture
def small() -> Config:
    """Two teams, everything at its default: compact, embedded database, simple auth."""
    return parse(SMALL)


@pytest.fixture
def full() -> Config:
    """One team, everything set: split."""
    return parse(FULL)
