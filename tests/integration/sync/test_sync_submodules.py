"""Submodules, on request: relative URLs, nested ones, servers that hide commits, and URLs that are not allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def modules(**urls: str) -> str:
    return "".join(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, url in urls.items())


@pytest.mark.parametrize("old", [False, True])
def test_relative_and_nested(platform: Any, new_repository: Any, server: Any, head_of: Any, old: bool) -> None:
    server.old = old
    server.users = {"x-access-token": "secret"}
    inner, library, dags = new_repository("inner.git"), new_repository("library.git"), new_repository("dags.git")
    inner_commit = inner.commit({"deep.py": "deep"})
    inner.commit({"deep.py": "later"})
    library_commit = library.commit(
        {"lib.py": "lib", "inner": ("160000", inner_commit), ".gitmodules": modules(inner="../inner.git")}
    )
    commit = dags.commit(
        {"a.py": "1", "vendor": ("160000", library_commit), ".gitmodules": modules(vendor="../library.git")}
    )
    key = platform.folder / "token"
    key.write_text("secret")
    platform.team(
        "alpha", server.url(dags), submodules=True, credentials={"token": {"file": str(key)}}, paths=["a.py", "vendor"]
    )
    assert platform.sync() == 0
    head = head_of("alpha")
    assert head.snapshot.startswith(commit + "-")
    files = platform.files("alpha")
    assert files.pop("vendor/.gitmodules")
    assert files == {"a.py": b"1", "vendor/lib.py": b"lib", "vendor/inner/deep.py": b"deep"}


def test_not_on_request_they_are_left_out(platform: Any, new_repository: Any, head_of: Any, caplog: Any) -> None:
    library, dags = new_repository("library.git"), new_repository("dags.git")
    linked = library.commit({"lib.py": "lib"})
    commit = dags.commit({"a.py": "1", "vendor": ("160000", linked), ".gitmodules": modules(vendor="../library.git")})
    platform.team("alpha", dags.path)
    with caplog.at_level("INFO"):
        assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    assert set(platform.files("alpha")) == {"a.py", ".gitmodules"}
    assert "submodules are left out (vendor)" in caplog.text


def test_damaged_mirror_of_a_submodule(platform: Any, new_repository: Any, head_of: Any) -> None:
    library, dags = new_repository("library.git"), new_repository("dags.git")
    content = {f"{number}.py": str(number) for number in range(150)}
    text = modules(vendor="../library.git")
    dags.commit({"vendor": ("160000", library.commit(content)), ".gitmodules": text})
    platform.team("alpha", dags.path, submodules=True)
    assert platform.sync() == 0
    for path in (platform.state / "sync/mirrors").rglob("*.pack"):
        path.unlink()
    dags.commit({"vendor": ("160000", library.commit({"new.py": "new"})), ".gitmodules": text})
    assert platform.sync() == 0
    assert platform.files("alpha")["vendor/new.py"] == b"new"


def test_token_goes_to_its_own_origin_only(
    platform: Any, new_repository: Any, server: Any, other_server: Any, head_of: Any
) -> None:
    library, dags = new_repository("library.git"), new_repository("dags.git")
    linked = library.commit({"lib.py": "lib"})
    dags.commit({"vendor": ("160000", linked), ".gitmodules": modules(vendor=other_server.url(library))})
    server.users = {"x-access-token": "secret"}
    other_server.users = {"x-access-token": "secret"}
    key = platform.folder / "token"
    key.write_text("secret")
    platform.team("alpha", server.url(dags), submodules=True, credentials={"token": {"file": str(key)}})
    assert platform.sync() == 1
    assert "the server does not accept the credentials" in head_of("alpha").error
    assert other_server.requests
    assert other_server.authorizations == []
    other_server.users = None
    assert platform.sync() == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc", "opened over file"),
        ("/etc", "opened over file"),
        ("ext::sh -c touch% /tmp/sprung", "remote helpers"),
        ("-uhttp://evil", "must not begin with -"),
        ("ftp://example.com/x", "ftp:// is not supported"),
        ("../../../../../../x", "leads out of"),
        ("ssh://-oProxyCommand=x/y", "no host"),
    ],
)
def test_urls_that_are_not_allowed(
    platform: Any, new_repository: Any, server: Any, head_of: Any, url: str, says: str
) -> None:
    dags = new_repository("dags.git")
    # By way of an object that git's own fsck would refuse, too: the mirror is filled before it looks.
    dags.commit({"vendor": ("160000", "1" * 40), ".gitmodules": modules(vendor=url)})
    platform.team("alpha", server.url(dags), submodules=True)
    assert platform.sync() == 1
    error = head_of("alpha").error
    assert says in error or "fsck" in error
    assert not Path("/tmp/sprung").exists()


def test_submodule_without_url_and_commit_that_is_gone(platform: Any, new_repository: Any, head_of: Any) -> None:
    library, dags = new_repository("library.git"), new_repository("dags.git")
    library.commit({"lib.py": "lib"})
    dags.commit({"vendor": ("160000", "1" * 40)})
    platform.team("alpha", dags.path, submodules=True)
    assert platform.sync() == 1
    assert "The submodule vendor has no url in .gitmodules" in head_of("alpha").error
    dags.commit({".gitmodules": modules(vendor="../library.git")})
    assert platform.sync() == 1
    assert f"has no commit {'1' * 40}" in head_of("alpha").error
