from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aerodrome.config.model import SshKey, Token
from aerodrome.errors import AerodromeError
from aerodrome.secrets import SecretPlace
from aerodrome.sync.credentials import Keyring, secret_folder
from aerodrome.sync.remote import parse


@pytest.fixture
def place(tmp_path: Path) -> SecretPlace:
    path = tmp_path / "a secret"
    path.write_text("hush\n")
    return SecretPlace(file=str(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


def test_lent_files_are_0600_and_taken_away(place: SecretPlace, folder: Path) -> None:
    home = parse("https://h/a")
    ring = Keyring(home, Token(token=place), None, folder)
    with ring.lent(home) as env:
        path = Path(env["AERODROME_PASSWORD_FILE"])
        assert path.read_text() == "hush\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "hush" not in str(env)
    assert not list(folder.iterdir())
    assert ring.masker.mask("it was hush") == "it was ***"


@pytest.mark.parametrize("url", ["https://other/a", "https://h:444/a", "http://h/a", "https://h.evil/a"])
def test_other_origins_get_nothing(place: SecretPlace, folder: Path, url: str) -> None:
    with Keyring(parse("https://h/a"), Token(token=place), place, folder).lent(parse(url)) as env:
        assert env == {"GIT_ASKPASS": "/bin/false"}
    assert not folder.exists()


def test_ssh(place: SecretPlace, folder: Path) -> None:
    home = parse("git@h:a")
    ring = Keyring(home, SshKey(ssh_key=place, known_hosts=place), None, folder)
    with ring.lent(home) as env:
        command = env["GIT_SSH_COMMAND"]
        assert "StrictHostKeyChecking=yes" in command
        assert "IdentityAgent=none" in command
        assert "hush" not in command
    with pytest.raises(AerodromeError, match="no SSH key for git@other:a"), ring.lent(parse("git@other:a")):
        pass


def test_credentials_that_do_not_fit_the_url(place: SecretPlace, folder: Path) -> None:
    key = SshKey(ssh_key=place, known_hosts=place)
    for url, credentials in (("https://h/a", key), ("git@h:a", Token(token=place))):
        home = parse(url)
        with (
            pytest.raises(AerodromeError, match="credentials are"),
            Keyring(home, credentials, None, folder).lent(home),
        ):
            pass
    assert not list(folder.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    folder = secret_folder(tmp_path)
    try:
        dead, alive = folder / f"{os.getpid()}-dead", folder / f"{os.getppid()}-alive"
        for left in (dead, alive):
            left.mkdir()
            (left / "password").write_text("x")
        assert secret_folder(tmp_path) == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (dead.exists(), alive.exists()) == (False, True)
    finally:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()


def test_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    folder = secret_folder(tmp_path)
    folder.chmod(0o755)
    try:
        assert secret_folder(tmp_path) == tmp_path / "secrets"
    finally:
        folder.rmdir()
