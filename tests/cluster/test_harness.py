"""What the other tests stand on: the images under Pod Security "restricted", and real servers that pods reach."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import images
import pytest
import servers

NAMESPACE = "harness"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def namespace(cluster: Any) -> Iterator[str]:
    """A namespace that enforces Pod Security "restricted"."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    yield NAMESPACE
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def run(cluster: Any, name: str, image: str, *command: str, **env: str) -> str:
    """Run a command in a pod to its end. Returns what it printed."""
    mounts = [{"name": "home", "mountPath": "/var/lib/aerodrome"}, {"name": "tmp", "mountPath": "/tmp"}]
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": mount["name"], "emptyDir": {}} for mount in mounts],
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    ended = "--for=jsonpath={.status.containerStatuses[0].state.terminated}"
    cluster.kubectl("-n", NAMESPACE, "wait", f"pod/{name}", ended, "--timeout=90s")
    code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"
    found = cluster.kubectl("-n", NAMESPACE, "get", "pod", name, "-o", code)
    said = cluster.kubectl("-n", NAMESPACE, "logs", name)
    assert found == "0", f"exit code {found}\n{said}"
    return str(said)


def test_the_image_of_workers_imports_what_a_task_needs_and_has_no_git(cluster: Any, namespace: str) -> None:
    code = (
        "import os, shutil, aerodrome.airflow.worker, airflow.sdk.execution_time.execute_workload; "
        "print(os.getuid(), *(shutil.which(p) for p in ('git', 'ssh', 'gcc', 'uv')))"
    )
    said = run(cluster, "imports", images.PLATFORM, "python", "-c", code)
    assert said.split()[-5:] == ["50000", "None", "None", "None", "None"]


def test_the_image_holds_the_embedded_database(cluster: Any, namespace: str) -> None:
    code = "from aerodrome.kubernetes import database_server as d; print(d.newest_programs())"
    assert run(cluster, "database", images.PLATFORM, "python", "-c", code).strip().endswith("/bin")


def test_a_pod_reaches_s3_and_is_refused_with_a_wrong_key(cluster: Any, namespace: str, s3: servers.S3) -> None:
    code = (
        "import os, obstore, obstore.store\n"
        "def store(secret):\n"
        f"    return obstore.store.S3Store({servers.BUCKET!r}, prefix='harness', endpoint=os.environ['S3'],\n"
        "        region='us-east-1', client_options={'allow_http': True}, secret_access_key=secret,\n"
        f"        access_key_id={servers.S3_KEY!r})\n"
        "good = store(os.environ['SECRET'])\n"
        "obstore.put(good, 'greeting', b'hello')\n"
        "print(bytes(obstore.get(good, 'greeting').bytes()).decode())\n"
        "try:\n"
        "    obstore.get(store('wrong'), 'greeting')\n"
        "except Exception as error:\n"
        "    print('refused')\n"
    )
    said = run(cluster, "s3", images.PLATFORM, "python", "-c", code, S3=s3.url, SECRET=servers.S3_SECRET)
    assert said.split() == ["hello", "refused"]


def test_a_pod_reads_git_over_https_with_its_token(
    cluster: Any, namespace: str, git_https: servers.GitOverHttps, repositories: Path
) -> None:
    commit = servers.Repository(repositories / "harness.git").commit({"a.txt": "a"})
    address = f"{git_https.url}/harness.git"
    script = (
        'printf %s "$CA" >/tmp/ca && export GIT_SSL_CAINFO=/tmp/ca GIT_TERMINAL_PROMPT=0\n'
        'git ls-remote "$ADDRESS" HEAD 2>/dev/null && exit 1\n'
        'git -c http.extraHeader="Authorization: Basic $LOGIN" ls-remote "$ADDRESS" HEAD'
    )
    login = base64.b64encode(f"x-access-token:{servers.TOKEN}".encode()).decode()
    said = run(
        cluster, "git-https", images.SYNC, "sh", "-c", script, CA=git_https.ca, ADDRESS=address, LOGIN=login
    )  # fmt: skip
    assert said.split() == [commit, "HEAD"]


def test_a_pod_reads_git_over_ssh_from_the_host_that_it_knows(
    cluster: Any, namespace: str, git_ssh: servers.GitOverSsh, repositories: Path
) -> None:
    commit = servers.Repository(repositories / "harness-ssh.git").commit({"a.txt": "a"})
    script = (
        'umask 077; printf %s "$KEY" >/tmp/key; printf %s "$KNOWN" >/tmp/known\n'
        "ssh='ssh -F none -i /tmp/key -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile='\n"
        'GIT_SSH_COMMAND="${ssh}/dev/null" git ls-remote "$ADDRESS" HEAD 2>/dev/null && exit 1\n'
        'GIT_SSH_COMMAND="${ssh}/tmp/known" git ls-remote "$ADDRESS" HEAD'
    )
    address = f"{git_ssh.url}{repositories}/harness-ssh.git"
    said = run(
        cluster, "git-ssh", images.SYNC, "sh", "-c", script,
        KEY=git_ssh.client_key, KNOWN=git_ssh.known_hosts, ADDRESS=address,
    )  # fmt: skip
    assert said.split() == [commit, "HEAD"]
