"""Over SSH: the declared key and host key, and nothing else of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def credentials(ssh_server: Any, tmp_path: Path) -> dict[str, Any]:
    hosts = tmp_path / "known hosts"
    hosts.write_text(ssh_server.known_hosts)
    key = tmp_path / "key"
    key.write_text((ssh_server.folder / "client").read_text())
    key.chmod(0o644)  # as Kubernetes mounts it: ssh itself would refuse it
    return {"ssh_key": {"file": str(key)}, "known_hosts": {"file": str(hosts)}}


def test_key_and_known_hosts(platform: Any, repository: Any, ssh_server: Any, head_of: Any, credentials: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", ssh_server.url(repository), credentials=credentials)
    assert platform.sync() == 0
    commit = repository.commit({"a.py": "2"})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit


def test_unknown_host_key(platform: Any, repository: Any, ssh_server: Any, head_of: Any, credentials: Any) -> None:
    repository.commit({"a.py": "1"})
    stranger = (ssh_server.folder / "stranger.pub").read_text()
    for known in (f"[127.0.0.1]:{ssh_server.port} {stranger}", f"example.com {stranger}"):
        Path(credentials["known_hosts"]["file"]).write_text(known)
        platform.team("alpha", ssh_server.url(repository), credentials=credentials)
        assert platform.sync() == 1
        assert "SSH host key is not the one in known_hosts" in head_of("alpha").error


def test_key_that_the_server_does_not_know(
    platform: Any, repository: Any, ssh_server: Any, head_of: Any, credentials: Any
) -> None:
    repository.commit({"a.py": "1"})
    Path(credentials["ssh_key"]["file"]).write_text((ssh_server.folder / "stranger").read_text())
    platform.team("alpha", ssh_server.url(repository), credentials=credentials)
    assert platform.sync() == 1
    assert "does not accept the SSH key" in head_of("alpha").error


def test_keys_of_the_machine_are_not_used(
    platform: Any, repository: Any, ssh_server: Any, head_of: Any, credentials: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """The user's own key would open, and his agent's, and his configuration would accept any host."""
    repository.commit({"a.py": "1"})
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519").write_text((ssh_server.folder / "client").read_text())
    (home / ".ssh/id_ed25519").chmod(0o600)
    (home / ".ssh/config").write_text("Host *\n  StrictHostKeyChecking no\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -i {home}/.ssh/id_ed25519")
    Path(credentials["ssh_key"]["file"]).write_text((ssh_server.folder / "stranger").read_text())
    platform.team("alpha", ssh_server.url(repository), credentials=credentials)
    assert platform.sync() == 1
    assert "does not accept the SSH key" in head_of("alpha").error
