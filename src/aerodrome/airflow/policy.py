"""What Airflow asks of a cluster's owner (``airflow.policies``), so that KubernetesPodOperator works out of the box.

- A task that starts pods itself needs a token of its service account, and no other task gets one: where DAG files are
  parsed, operators of the Kubernetes provider are given an ``executor_config`` that mounts it.
- Namespaces of teams take only pods under Pod Security "restricted": a pod that says nothing about its security gets
  what that asks for; what a pod does say is left alone.

Found by the entry point ``airflow.policy``; does nothing outside a cluster.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.policies import hookimpl

from aerodrome.airflow.environment import CLUSTER

_OPERATORS = "airflow.providers.cncf.kubernetes.operators."
_ANYBODY = 50000


@hookimpl
def task_policy(task: Any) -> None:
    """Mount the token into the pod of a task that talks to Kubernetes, unless its author has said otherwise."""
    if CLUSTER not in os.environ or not _talks_to_kubernetes(task):
        return
    from kubernetes.client import models

    config = dict(task.executor_config or {})
    override = config.get("pod_override")
    if override is None:
        override = models.V1Pod(spec=models.V1PodSpec(containers=[models.V1Container(name="base")]))
    if override.spec is None:
        override.spec = models.V1PodSpec(containers=[models.V1Container(name="base")])
    if override.spec.automount_service_account_token is None:
        override.spec.automount_service_account_token = True
    config["pod_override"] = override
    if hasattr(task, "partial_kwargs"):
        task.partial_kwargs["executor_config"] = config
    else:
        task.executor_config = config


@hookimpl
def pod_mutation_hook(pod: Any) -> None:
    """Give `pod` the security that its namespace asks for, wherever it says nothing."""
    if CLUSTER not in os.environ:
        return
    from kubernetes.client import models

    spec = pod.spec
    whole = spec.security_context = spec.security_context or models.V1PodSecurityContext()
    if whole.run_as_non_root is None:
        whole.run_as_non_root = True
    if whole.seccomp_profile is None:
        whole.seccomp_profile = models.V1SeccompProfile(type="RuntimeDefault")
    containers = [*(spec.containers or []), *(spec.init_containers or [])]
    if whole.run_as_user is None and not any(
        container.security_context and container.security_context.run_as_user for container in containers
    ):
        # many an image would run as root, and Kubernetes would refuse to start it
        whole.run_as_user = _ANYBODY
    for container in containers:
        security = container.security_context = container.security_context or models.V1SecurityContext()
        if security.allow_privilege_escalation is None:
            security.allow_privilege_escalation = False
        if security.capabilities is None:
            security.capabilities = models.V1Capabilities(drop=["ALL"])


def _talks_to_kubernetes(task: Any) -> bool:
    operator = getattr(task, "operator_class", None) or type(task)
    # of a mapped task that was read back from the database, only a name is known
    lineage = operator.__mro__ if isinstance(operator, type) else ()
    return any(part.__module__.startswith(_OPERATORS) for part in lineage)
