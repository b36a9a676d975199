"""A real cluster for the tests, with real servers beside it.

``KUBECONFIG``: a cluster of your own, whose nodes reach this machine at ``AERODROME_TEST_ADDRESS`` and have (or can
pull) the images ``AERODROME_TEST_IMAGE`` and the same with ``-sync``, ``-next`` and ``-next-sync`` after its tag.
Without it, as root on Linux, a cluster of two nodes is started on this machine, and ended after the tests. With
``AERODROME_TEST_KEEP`` it is left running, and the next run with it goes on there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import binaries
import images
import machine
import servers
from platform_kit import Platform


class Given:
    """The cluster of ``KUBECONFIG``."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.kubeconfig = Path(os.environ["KUBECONFIG"])
        self.bridge = os.environ.get("AERODROME_TEST_ADDRESS", "")
        if not self.bridge:
            raise binaries.Impossible("set AERODROME_TEST_ADDRESS: this machine's address as the cluster's pods see it")

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl; its output."""
        return machine.shell(str(self._programs / "kubectl"), "--kubeconfig", str(self.kubeconfig), *argv, input=stdin)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real pods take longer than a test elsewhere may; what is built and started first is not counted."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900, func_only=True))


@contextlib.contextmanager
def _or_end() -> Iterator[None]:
    """Without a cluster nothing is tested: that is a failed run with one clear word, not tests that are skipped."""
    try:
        yield
    except binaries.Impossible as reason:
        pytest.exit(f"no cluster: {reason}", returncode=1)


@pytest.fixture(scope="session")
def programs() -> Path:
    """Folder of the programs that are built: Kubernetes, CoreDNS, an S3 server."""
    with _or_end():
        if not os.environ.get("KUBECONFIG"):
            binaries.require()
        return binaries.built()


@pytest.fixture(scope="session")
def cluster(programs: Path) -> Iterator[Any]:
    """A cluster with the platform's images."""
    if os.environ.get("KUBECONFIG"):
        with _or_end():
            given = Given(programs)
        yield given
        return
    with _or_end():
        archives = images.archives()
    started = machine.Cluster(programs, binaries.cache() / "cluster")
    keep = bool(os.environ.get("AERODROME_TEST_KEEP"))
    try:
        if not keep or not started.take_up():
            started.up()
        for archive in archives:
            started.load(archive)
        yield started
    finally:
        if keep:
            started.leave()
        else:
            started.down()


@pytest.fixture(scope="session")
def s3(cluster: Any, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3]:
    """An S3 server."""
    server = servers.S3(programs / "versitygw", tmp_path_factory.mktemp("s3"), cluster.bridge)
    yield server
    server.close()


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the repositories that the Git servers serve."""
    return tmp_path_factory.mktemp("repositories")


@pytest.fixture(scope="session")
def git_https(
    cluster: Any, repositories: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.GitOverHttps]:
    """Git over HTTPS, with a token."""
    server = servers.GitOverHttps(repositories, tmp_path_factory.mktemp("https"), cluster.bridge)
    yield server
    server.close()


@pytest.fixture(scope="session")
def git_ssh(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.GitOverSsh]:
    """Git over SSH, with a key."""
    server = servers.GitOverSsh(tmp_path_factory.mktemp("ssh"), cluster.bridge)
    yield server
    server.close()


@pytest.fixture(scope="module")
def platform_of(
    cluster: Any,
    s3: servers.S3,
    git_https: servers.GitOverHttps,
    git_ssh: servers.GitOverSsh,
    repositories: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str, str], Platform]]:
    """Makes an installation of a name and a topology; it is destroyed after the module's tests."""
    made: list[Platform] = []

    def make(name: str, topology: str) -> Platform:
        folder = tmp_path_factory.mktemp(name)
        platform = Platform(
            cluster, folder, name, s3=s3, https=git_https, ssh=git_ssh, repositories=repositories, topology=topology
        )
        made.append(platform)
        return platform

    yield make
    for platform in made:
        platform.run("destroy", "--yes", "--delete-database")
