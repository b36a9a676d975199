from __future__ import annotations

import pytest

from aerodrome.errors import AerodromeError
from aerodrome.sync.remote import parse, without_password
from aerodrome.sync.submodules import _same_way


@pytest.mark.parametrize(
    ("repo", "url", "origin"),
    [
        ("https://Git.example.com/a/b.git", "https://Git.example.com/a/b.git", "https://git.example.com"),
        ("https://git.example.com:8443/a", "https://git.example.com:8443/a", "https://git.example.com:8443"),
        ("ssh://git@host:2222/a", "ssh://git@host:2222/a", "ssh://host:2222"),
        ("git@host:a/b.git", "git@host:a/b.git", "ssh://host"),
        ("file:///srv/a", "file:///srv/a", "file://"),
        ("/srv/a b%", "file:///srv/a%20b%25", "file://"),
    ],
)
def test_parse(repo: str, url: str, origin: str) -> None:
    remote = parse(repo)
    assert (remote.url, remote.origin) == (url, origin)


@pytest.mark.parametrize(
    "repo",
    ["", "-x", "relative/path", "ext::sh", "ftp://a/b", "https://u:p@host/x", "https://host", "ssh://-oX/y", "a\nb"],
)
def test_refused(repo: str) -> None:
    with pytest.raises(AerodromeError) as error:
        parse(repo)
    assert "u:p" not in str(error.value)


@pytest.mark.parametrize(
    ("parent", "url", "expected"),
    [
        ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
        ("https://h/a/b.git/", "./c", "https://h/a/b.git/c"),
        ("https://h/a/b.git", "../../x/./y", "https://h/x/y"),
        ("git@h:a/b.git", "../c.git", "git@h:a/c.git"),
        ("git@h:b.git", "../c.git", "git@h:c.git"),
        ("ssh://git@h:22/a/b", "../c", "ssh://git@h:22/a/c"),
        ("file:///srv/a.git", "../b.git", "file:///srv/b.git"),
        ("https://h/a", "https://other/x", "https://other/x"),
    ],
)
def test_relative(parent: str, url: str, expected: str) -> None:
    assert parse(parent).relative(url) == expected


@pytest.mark.parametrize("parent", ["https://h/a", "git@h:a", "file:///a"])
def test_relative_that_leads_out(parent: str) -> None:
    with pytest.raises(AerodromeError, match="leads out of"):
        parse(parent).relative("../../x")


@pytest.mark.parametrize(
    ("parent", "other", "may"),
    [
        ("https://h/a", "https://o/b", True),
        ("https://h/a", "git@o:b", True),
        ("https://h/a", "http://o/b", False),
        ("https://h/a", "file:///b", False),
        ("http://h/a", "http://o/b", True),
        ("file:///a", "file:///b", True),
        ("file:///a", "http://o/b", False),
    ],
)
def test_may_lead_to(parent: str, other: str, may: bool) -> None:
    assert parse(parent).may_lead_to(parse(other)) is may


def test_without_password() -> None:
    assert without_password("fatal: 'https://me:secret@host/x' not found") == "fatal: 'https://host/x' not found"


@pytest.mark.parametrize(
    ("parent", "url", "expected"),
    [
        ("https://h/a.git", "git@h:x/y.git", "https://h/x/y.git"),
        ("https://h:8443/a.git", "ssh://git@h/x/y.git", "https://h:8443/x/y.git"),
        ("git@h:a.git", "https://h/x/y.git", "git@h:x/y.git"),
        ("ssh://git@h:2222/a.git", "https://h/x/y.git", "ssh://git@h:2222/x/y.git"),
        ("https://h/a.git", "git@other:x/y.git", "git@other:x/y.git"),
        ("https://h/a.git", "https://h/x", "https://h/x"),
        ("file:///a.git", "git@h:x", "git@h:x"),
    ],
)
def test_submodule_on_the_same_host_goes_the_way_of_its_parent(parent: str, url: str, expected: str) -> None:
    assert _same_way(parse(parent), url) == expected
