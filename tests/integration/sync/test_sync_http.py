"""Over HTTP: credentials that stay where they belong, and servers that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

TOKEN = "t0ken-of-alpha/+&%'"


@pytest.fixture
def token(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return {"token": {"file": str(path)}}


@pytest.fixture
def spied_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `git` that notes its arguments and environment before it is git, and what lies in files of secrets."""
    real = shutil.which("git")
    folder = tmp_path / "bin"
    folder.mkdir()
    notes = tmp_path / "notes"
    (folder / "git").write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; }} >> {notes}\n'
        f'[ -z "$AERODROME_PASSWORD_FILE" ] || stat -c "SECRET %a" "$AERODROME_PASSWORD_FILE" >> {notes}\n'
        f'exec {real} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return notes


def test_token_opens_and_is_nowhere_to_be_seen(
    platform: Any, repository: Any, server: Any, head_of: Any, token: Any, spied_git: Path, way: str
) -> None:
    commit = repository.commit({"a.py": "1"})
    server.users = {"x-access-token": TOKEN}
    platform.team("alpha", server.url(repository), credentials=token)
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    seen = spied_git.read_text()
    assert ("ls-remote" in seen) == (way == "git")
    assert "--no-write-fetch-head" in seen
    assert TOKEN not in seen
    assert {line for line in seen.splitlines() if line.startswith("SECRET")} == {"SECRET 600"}
    # Nor is it anywhere afterwards.
    for path in [*platform.state.rglob("*"), *Path("/dev/shm").glob("aerodrome-*/*/*")]:
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


@pytest.mark.usefixtures("way")
def test_wrong_token_is_told_without_it(
    platform: Any, repository: Any, server: Any, head_of: Any, token: Any, caplog: Any
) -> None:
    repository.commit({"a.py": "1"})
    server.users = {"x-access-token": "another"}
    platform.team("alpha", server.url(repository), credentials=token)
    assert platform.sync() == 1
    assert "the server does not accept the credentials" in head_of("alpha").error
    assert TOKEN not in head_of("alpha").error + caplog.text


def test_no_credentials_where_some_are_needed(platform: Any, repository: Any, server: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    server.users = {"x": "y"}
    platform.team("alpha", server.url(repository))
    assert platform.sync() == 1
    assert "the server does not accept the credentials" in head_of("alpha").error


def test_secret_that_is_not_there(platform: Any, repository: Any, server: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository), credentials={"token": {"env": "NO_SUCH_VARIABLE"}})
    assert platform.sync() == 1
    assert "NO_SUCH_VARIABLE is not set" in head_of("alpha").error


def test_rotated_token_is_read_again(
    platform: Any, repository: Any, server: Any, head_of: Any, token: Any, until: Any
) -> None:
    repository.commit({"a.py": "1"})
    server.users = {"x-access-token": "new"}
    platform.team("alpha", server.url(repository), credentials=token)
    process = platform.start()
    try:
        until(lambda: platform.store.team("alpha").head() if (platform.state / "store/store.json").exists() else None)
        Path(token["token"]["file"]).write_text("new")
        until(lambda: head_of("alpha").error is None)
    finally:
        process.terminate()
        assert process.wait(5) == 0


@pytest.mark.usefixtures("way")
def test_redirect_never_takes_the_token_along(
    platform: Any, repository: Any, server: Any, other_server: Any, head_of: Any, token: Any
) -> None:
    """Another host asks for a password: it gets none, though the declared one sent us there."""
    repository.commit({"a.py": "1"})
    server.redirect = f"http://127.0.0.1:{other_server.port}"
    other_server.users = {"x-access-token": TOKEN}
    platform.team("alpha", server.url(repository), credentials=token)
    assert platform.sync() == 1
    assert other_server.requests
    assert other_server.authorizations == []


@pytest.mark.usefixtures("way")
def test_redirect_to_the_new_name_of_a_repository(platform: Any, repository: Any, server: Any, head_of: Any) -> None:
    commit = repository.commit({"a.py": "1"})
    platform.team("alpha", server.url("old-name/dags.git"))
    (server.root / "old-name").mkdir()
    real = server._answer

    def renamed(request: Any) -> None:
        if request.path.startswith("/old-name/"):
            request.send_response(301)
            request.send_header("Location", request.path.removeprefix("/old-name"))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        real(request)

    server._answer = renamed
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("status", "says"),
    [(429, "throttles requests"), (500, "an error of its own"), (503, "an error of its own"), (404, "no such repo")],
)
def test_server_that_says_no(platform: Any, repository: Any, server: Any, head_of: Any, status: int, says: str) -> None:
    commit = repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository))
    assert platform.sync() == 0
    server.status = status
    assert platform.sync() == 1
    assert (head_of("alpha").snapshot, says in head_of("alpha").error) == (commit, True)
    first = head_of("alpha")
    assert platform.sync() == 1
    assert head_of("alpha") == first, "the same failure is not written again"
    server.status = None
    assert platform.sync() == 0
    assert head_of("alpha").error is None


@pytest.mark.parametrize("cut", [10, 400, 3000])
def test_connection_cut_in_the_middle(platform: Any, repository: Any, server: Any, head_of: Any, cut: int) -> None:
    first = repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository))
    platform.sync()
    second = repository.commit({"big.bin": os.urandom(8000), "a.py": "2"})
    server.cut = cut
    assert platform.sync() == 1
    assert (head_of("alpha").snapshot, bool(head_of("alpha").error)) == (first, True)
    server.cut = None
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == second
    assert platform.files("alpha")["a.py"] == b"2"


def test_nobody_there(platform: Any, repository: Any, server: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository))
    server.close()
    assert platform.sync() == 1
    assert "can not be reached" in head_of("alpha").error


@pytest.mark.usefixtures("way")
def test_own_authority(
    platform: Any, repository: Any, tls_server: Any, head_of: Any, certificate: Path, token: Any, monkeypatch: Any
) -> None:
    commit = repository.commit({"a.py": "1"})
    tls_server.users = {"x-access-token": TOKEN}
    platform.team("alpha", tls_server.url(repository), credentials=token)
    assert platform.sync() == 1
    assert "TLS certificate is not trusted" in head_of("alpha").error
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    assert platform.sync() == 1, "nothing turns the check off"
    platform.team("alpha", tls_server.url(repository), credentials=token, ca={"file": str(certificate)})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit


@pytest.mark.usefixtures("way")
def test_authority_of_the_machine(
    platform: Any, repository: Any, tls_server: Any, head_of: Any, certificate: Path, monkeypatch: Any
) -> None:
    commit = repository.commit({"a.py": "1"})
    platform.team("alpha", tls_server.url(repository))
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit


@pytest.fixture
def private_key(tmp_path: Path) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    path = tmp_path / "app.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    path.with_suffix(".pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return path


def test_github_app(
    platform: Any, repository: Any, tls_server: Any, head_of: Any, certificate: Path, private_key: Path, caplog: Any
) -> None:
    import jwt

    commit = repository.commit({"a.py": "1"})
    tls_server.users = {"x-access-token": "ghs_first"}
    claims: list[Any] = []

    def exchange(body: bytes, headers: Any) -> tuple[int, bytes]:
        claim = headers["Authorization"].removeprefix("Bearer ")
        claims.append(jwt.decode(claim, private_key.with_suffix(".pub").read_bytes(), algorithms=["RS256"]))
        ends = datetime.now(UTC) + timedelta(hours=1)
        return 201, json.dumps({"token": "ghs_first", "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()

    tls_server.pages["/api/v3/app/installations/42/access_tokens"] = exchange
    app = {"app_id": 7, "installation_id": 42, "private_key": {"file": str(private_key)}}
    platform.team("alpha", tls_server.url(repository), credentials={"github_app": app}, ca={"file": str(certificate)})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    assert len(claims) == 1, "one token for look and fetch"
    assert claims[0]["iss"] == "7"

    tls_server.pages["/api/v3/app/installations/42/access_tokens"] = lambda body, headers: (
        401,
        b'{"message": "A JSON web token could not be decoded"}',
    )
    assert platform.sync() == 1
    assert "no token for installation 42: 401 A JSON web token could not be decoded" in head_of("alpha").error
    private_key.write_text("no key")
    assert platform.sync() == 1
    assert "holds no RSA private key" in head_of("alpha").error
    assert stat.S_IMODE((platform.state / "sync").stat().st_mode) == 0o700
