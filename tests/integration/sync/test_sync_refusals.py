"""What can not be a snapshot is refused in clear words, and what is live stays live."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

Files = dict[str, Any]


def refused(platform: Any, head_of: Any) -> str:
    assert platform.sync() == 1
    head = head_of("alpha")
    what, _, remedy = head.error.partition("\n")
    assert remedy
    assert not list((platform.state / "sync/mirrors").glob("*.pack"))
    return str(what)


@pytest.mark.parametrize(
    ("limits", "files", "says"),
    [
        ({"files": 3}, {f"{n}.py": "" for n in range(4)}, "more than 3 files"),
        ({"file": "1Ki"}, {"ok": "x" * 1024, "dags/big.bin": "x" * 1025}, "dags/big.bin has 1.0 KiB; the largest file"),
        ({"snapshot": "1Mi", "file": "1Mi"}, {f"{n}": os.urandom(1 << 20) for n in range(3)}, "larger than the limit"),
        (
            {"snapshot": "2Ki", "file": "2Ki"},
            {"a": "x" * 1024, "b": "x" * 1024, "c": "x"},
            "more than 2.0 KiB together",
        ),
    ],
)
def test_limits(platform: Any, repository: Any, head_of: Any, limits: Files, files: Files, says: str) -> None:
    good = repository.commit({"ok": "1"})
    platform.team("alpha", repository.path, limits=limits)
    assert platform.sync() == 0
    repository.commit(files)
    assert says in refused(platform, head_of)
    assert head_of("alpha").snapshot == good
    assert head_of("alpha").commit == good
    mended = repository.commit(dict.fromkeys(files) | {"ok": "2"})
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("alpha").error) == (mended, None)


def test_time_limit_of_a_fetch(platform: Any, repository: Any, server: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository), limits={"fetch": "300ms"})
    posts = iter(range(100))
    real = server._answer

    def slow_fetch(request: Any) -> None:
        if request.command == "POST" and next(posts) > 0:  # the first is the look
            server.hang.add("upload-pack")
        real(request)

    server._answer = slow_fetch
    assert "no end after 0.3 s" in refused(platform, head_of)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("dags/a\\b.py", "holds a backslash"),
        (".GIT/config", "fsck"),
        ("dags/git~1", "fsck"),
        ("x" * 256, "is longer than 255 bytes"),
    ],
)
def test_names(platform: Any, repository: Any, head_of: Any, path: str, why: str) -> None:
    repository.commit({"ok": "1"})
    platform.team("alpha", repository.path)
    try:
        repository.commit({path: "1"})
    except AssertionError:  # this git does not even make it by fast-import: by hand
        name, _, below = path.partition("/")
        blob = repository.blob(b"1")
        repository.tree([("100644", (below or name).encode(), blob)])
    assert why in refused(platform, head_of)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("100644", b"caf\xe9.py")], "is not UTF-8"),
        ([("100644", b"..")], ""),
        ([("100644", b".git")], ""),
        ([("100644", b"/etc/passwd")], ""),
        ([("100644", b"a/../../b")], ""),
        ([("120000", b"same"), ("40000", b"same")], ""),
        ([("100644", b"same"), ("100644", b"same")], ""),
    ],
)
def test_crafted_trees(platform: Any, repository: Any, head_of: Any, entries: Any, why: str) -> None:
    blob = repository.blob(b"x")
    tree = repository.git("rev-parse", repository.commit({"x": "1"}) + "^{tree}")
    repository.tree([(mode, name, tree if mode == "40000" else blob) for mode, name in entries])
    platform.team("alpha", repository.path)
    assert why in refused(platform, head_of)


def test_paths_that_collide_where_case_means_nothing(platform: Any, repository: Any, head_of: Any) -> None:
    repository.commit({"Dags/a.py": "1", "dags/b.py": "2"})
    platform.team("alpha", repository.path)
    assert "Dags and dags" in refused(platform, head_of)
    platform.team("alpha", repository.path, paths=["dags"])
    assert platform.sync() == 0


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../..", "x/../../../y", "self/../../.."])
def test_symlinks_that_lead_out(platform: Any, repository: Any, head_of: Any, target: str) -> None:
    repository.commit({"dags/link": ("120000", target), "dags/self": ("120000", ".")})
    platform.team("alpha", repository.path)
    assert f"dags/link -> {target}" in refused(platform, head_of)


def test_symlinks_inside_are_kept(platform: Any, repository: Any) -> None:
    links = {"dags/up": "../lib", "dags/same": "a.py", "dags/nowhere": "not/there", "top": "dags/up/../dags/./a.py"}
    repository.commit(
        {path: ("120000", target) for path, target in links.items()} | {"dags/a.py": "1", "lib/b.py": "2"}
    )
    platform.team("alpha", repository.path)
    assert platform.sync() == 0
    files = platform.files("alpha")
    assert {path: files[path].decode() for path in links} == {path: f"-> {target}" for path, target in links.items()}


def test_a_tree_of_trees_without_end(platform: Any, repository: Any, head_of: Any) -> None:
    """Ten objects that stand for ten million folders."""
    tree = repository.git("mktree", stdin=b"")
    for _ in range(8):
        lines = "".join(f"040000 tree {tree}\tt{number}\n" for number in range(10))
        tree = repository.git("mktree", stdin=lines.encode())
    repository.tree([("40000", b"t", tree)])
    platform.team("alpha", repository.path)
    assert "more than 50,000 files" in refused(platform, head_of)


def test_the_same_refusal_is_told_once_and_costs_one_look(
    platform: Any, repository: Any, server: Any, until: Callable[..., Any], head_of: Any
) -> None:
    repository.commit({"a\\b": "1"})
    platform.team("alpha", server.url(repository), poll="1s")
    process = platform.start()
    try:
        until(lambda: len(server.requests) >= 7)
    finally:
        process.terminate()
        assert process.wait(5) == 0
    assert platform.log.read_text().count("holds a backslash") == 1
    # The fetch: capabilities, refs, pack. All else is looks, a request each.
    assert sum("info/refs" in line for line in server.requests) == 1
