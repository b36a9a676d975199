"""Files of Git LFS: fetched where git-lfs is there, else refused with their names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

LARGE = b"a large file\n" * 100


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@pytest.fixture(scope="session")
def git_lfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the git-lfs program: the machine's, else from Debian's package."""
    found = shutil.which("git-lfs")
    if found is None:
        folder = tmp_path_factory.mktemp("git-lfs")
        subprocess.run(["apt-get", "update", "-q"], capture_output=True)
        subprocess.run(["apt-get", "download", "git-lfs"], cwd=folder, check=True, capture_output=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
        found = str(folder / "usr/bin/git-lfs")
    return Path(found).parent


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with every program of PATH but git-lfs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for path in Path(place).glob("*") if Path(place).is_dir() else ():
            if path.name != "git-lfs":
                (folder / path.name).unlink(missing_ok=True)
                (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def lfs_server(server: Any, monkeypatch: pytest.MonkeyPatch, git_lfs: Path) -> Any:
    """The server, with LFS objects of its own: `server.large` by their SHA-256."""
    monkeypatch.setenv("PATH", f"{git_lfs}:{os.environ['PATH']}")
    server.large = {hashlib.sha256(LARGE).hexdigest(): LARGE}

    def batch(body: bytes, headers: Any) -> tuple[int, bytes]:
        assert headers.get("Authorization") or server.users is None
        objects = []
        for wanted in json.loads(body)["objects"]:
            found: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] in server.large:
                href = server.url("objects/" + wanted["oid"])
                found["actions"] = {"download": {"href": href}}
                server.pages[f"/objects/{wanted['oid']}"] = lambda *_, oid=wanted["oid"]: (200, server.large[oid])
            else:
                found["error"] = {"code": 404, "message": "no such object"}
            objects.append(found)
        return 200, json.dumps({"transfer": "basic", "objects": objects}).encode()

    server.pages["/dags.git/info/lfs/objects/batch"] = batch
    return server


def test_files_are_fetched_and_checked(platform: Any, repository: Any, lfs_server: Any, head_of: Any) -> None:
    evil = "[lfs]\n\turl = http://127.0.0.1:1/evil\n\tfetchexclude = *\n"
    commit = repository.commit(
        {"model.bin": pointer(LARGE), "dags/run": ("100755", pointer(LARGE)), "a.py": "1", ".lfsconfig": evil}
    )
    platform.team("alpha", lfs_server.url(repository))
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit, "what LFS keeps is part of the commit, not a setting"
    files = platform.files("alpha")
    assert (files["model.bin"], files["dags/run"], files["a.py"]) == (LARGE, LARGE, b"1")
    manifest = platform.store.team("alpha").manifest(commit)
    assert manifest.unpacked == 2 * len(LARGE) + 1 + len(evil)


def test_with_a_token(platform: Any, repository: Any, lfs_server: Any, head_of: Any) -> None:
    repository.commit({"model.bin": pointer(LARGE)})
    lfs_server.users = {"x-access-token": "secret"}
    plain = lfs_server.pages["/dags.git/info/lfs/objects/batch"]

    def batch(body: bytes, headers: Any) -> tuple[int, bytes]:
        if not headers.get("Authorization"):
            return 401, b"{}"
        return plain(body, headers)

    lfs_server.pages["/dags.git/info/lfs/objects/batch"] = batch
    key = platform.folder / "token"
    key.write_text("secret")
    platform.team("alpha", lfs_server.url(repository), credentials={"token": {"file": str(key)}})
    assert platform.sync() == 0, head_of("alpha").error
    assert platform.files("alpha")["model.bin"] == LARGE


def test_file_that_the_server_does_not_have(platform: Any, repository: Any, lfs_server: Any, head_of: Any) -> None:
    good = repository.commit({"a.py": "1"})
    platform.team("alpha", lfs_server.url(repository))
    platform.sync()
    repository.commit({"model.bin": pointer(b"lost")})
    assert platform.sync() == 1
    assert head_of("alpha").snapshot == good
    assert "fetch LFS files" in head_of("alpha").error
    lfs_server.large[hashlib.sha256(b"lost").hexdigest()] = b"lost"
    assert platform.sync() == 0
    assert platform.files("alpha")["model.bin"] == b"lost"


def test_file_beyond_the_limit_is_not_fetched(platform: Any, repository: Any, lfs_server: Any, head_of: Any) -> None:
    repository.commit({"model.bin": pointer(LARGE)})
    platform.team("alpha", lfs_server.url(repository), limits={"file": "1Ki"})
    assert platform.sync() == 1
    assert "model.bin has 1.3 KiB" in head_of("alpha").error
    assert not any("lfs" in line for line in lfs_server.requests)


def test_repository_on_this_machine(platform: Any, repository: Any, git_lfs: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", f"{git_lfs}:{os.environ['PATH']}")
    repository.commit({"model.bin": pointer(LARGE)})
    oid = hashlib.sha256(LARGE).hexdigest()
    place = repository.path / "lfs/objects" / oid[:2] / oid[2:4] / oid
    place.parent.mkdir(parents=True)
    place.write_bytes(LARGE)
    platform.team("alpha", repository.path)
    assert platform.sync() == 0
    assert platform.files("alpha")["model.bin"] == LARGE


def test_no_program_is_a_clear_refusal(
    platform: Any, repository: Any, head_of: Any, programs: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PATH", str(programs))
    good = repository.commit({"a.py": "1"})
    platform.team("alpha", repository.path)
    platform.sync()
    repository.commit({"models/x.bin": pointer(LARGE), "a.bin": pointer(b"a")})
    assert platform.sync() == 1
    assert head_of("alpha").snapshot == good
    assert "Git LFS keeps the content of a.bin, models/x.bin, and there is no `git-lfs`" in head_of("alpha").error
