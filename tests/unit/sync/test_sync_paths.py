from __future__ import annotations

import pytest

from aerodrome.sync.failures import SnapshotRefused
from aerodrome.sync.paths import check_links, check_names, check_paths, fault


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"", "empty"),
        (b".", "holds '.'"),
        (b"..", "holds '..'"),
        (b"/etc", "absolute"),
        (b"a/b", "slash"),
        (b"a\0b", "NUL"),
        (b"a\\b", "backslash"),
        (b"\xff", "not UTF-8"),
        (b".git", ".git"),
        (b".GiT", ".git"),
        (b".git. ", ".git"),
        (b"git~1", ".git"),
        (b".git::$INDEX_ALLOCATION", ".git"),
        (".g\u200cit".encode(), ".git"),
        (b"x" * 256, "longer than 255"),
        ("ä".encode() * 128, "longer than 255"),
    ],
)
def test_names_that_are_refused(name: bytes, why: str) -> None:
    assert why in (fault(name) or "")
    with pytest.raises(SnapshotRefused, match="dags/"):
        check_names({b"fine": b"", name: b"dags/"})


@pytest.mark.parametrize(
    "name", [b"a.py", b".gitignore", b".github", b"...", b"a b", "ä".encode(), b"x" * 255, b"Icon\r"]
)
def test_names_that_are_fine(name: bytes) -> None:
    assert fault(name) is None


@pytest.mark.parametrize(
    ("paths", "clash"),
    [
        (["a/B.py", "a/b.py"], "a/B.py and a/b.py"),
        (["A/x", "a/y"], "A and a"),
        (["a", "A/y"], "a and A"),
        (["stra\u00dfe", "strasse"], "stra"),
        (["e\u0301.py", "\u00e9.py"], "and"),
        (["a", "a"], "a and a"),
        (["a", "a/x"], "a and a/"),
        (["a/x", "a"], "a and a"),
        (["a/b/c/d", "a/B/c/e"], "a/b and a/B"),
    ],
)
def test_paths_that_collide(paths: list[str], clash: str) -> None:
    with pytest.raises(SnapshotRefused) as error:
        check_paths(paths)
    assert clash in error.value.what


def test_paths_that_are_fine() -> None:
    check_paths(["a/b/c", "a/b/d", "a/c", "b", "ab"])


def test_path_that_is_too_long() -> None:
    with pytest.raises(SnapshotRefused, match="at most 4,000"):
        check_paths(["/".join("x" * 100 for _ in range(50))])


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc"},
        {"a": ".."},
        {"a": "b/../.."},
        {"d/a": "../../x"},
        {"a": ""},
        {"a": "a"},
        {"a": "b", "b": "a"},
        # Lexically inside; really out: `deep/up` leads to the root, and from there one goes up.
        {"deep/up": "..", "deep/out": "up/../x"},
        {"x/l": "y/z", "x/y/z": "../..", "x/out": "l/.."},
    ],
)
def test_links_that_lead_out(links: dict[str, str]) -> None:
    with pytest.raises(SnapshotRefused, match="lead out of the snapshot or in a circle"):
        check_links(links)


@pytest.mark.parametrize(
    "links",
    [
        {"a": "b"},
        {"d/a": "../b"},
        {"d/a": "."},
        {"d/a": ".."},
        {"a": "not/there/../x"},
        {"a": "./b//c/"},
        {"a": "b", "b": "c", "c": "d"},
        {"deep/up": "..", "deep/in": "up/deep/x"},
    ],
)
def test_links_that_stay_inside(links: dict[str, str]) -> None:
    check_links(links)
