from __future__ import annotations

import pytest

from aerodrome.config.repo_url import RepoUrl


@pytest.mark.parametrize(
    ("url", "kind", "host", "path"),
    [
        ("https://github.com/x/y.git", "https", "github.com", "x/y.git"),
        ("http://127.0.0.1:8080/x", "http", "127.0.0.1", "x"),
        ("ssh://git@h.example:2222/x/y", "ssh", "h.example", "x/y"),
        ("git@h.example:x/y.git", "ssh", "h.example", "x/y.git"),
        ("file:///srv/x.git", "file", "", "/srv/x.git"),
        ("/srv/x.git", "file", "", "/srv/x.git"),
        ("./a:b", "file", "", "/home/ada/a:b"),
        ("dags", "file", "", "/home/ada/dags"),
    ],
)
def test_kinds(url: str, kind: str, host: str, path: str) -> None:
    repo = RepoUrl.parse(url, "/home/ada")
    assert (repo.kind, repo.host, repo.path) == (kind, host, path)


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://github.com/x/y.git", "https://github.com/x/y/commit/{commit}"),
        ("git@gitlab.example.com:g/s/y.git", "https://gitlab.example.com/g/s/y/-/commit/{commit}"),
        ("ssh://git@codeberg.org:2222/x/y.git", "https://codeberg.org/x/y/commit/{commit}"),
        ("https://bitbucket.org/x/y/", "https://bitbucket.org/x/y/commits/{commit}"),
        ("http://gitea.local:3000/x/y", "http://gitea.local:3000/x/y/commit/{commit}"),
        ("https://git.example.com/x/y", None),
        ("/srv/github/y", None),
    ],
)
def test_pages_of_commits(url: str, page: str | None) -> None:
    assert RepoUrl.parse(url).commit_page() == page


def test_a_forge_that_the_host_does_not_tell() -> None:
    repo = RepoUrl.parse("https://git.example.com/x/{y}.git")
    page = repo.commit_page("gitlab")
    assert page is not None
    assert page.format(commit="abc") == "https://git.example.com/x/%7By%7D/-/commit/abc"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://localhost/x", True), ("http://127.0.0.9/x", True), ("http://[::1]/x", True), ("http://h/x", False)],
)
def test_loopback(url: str, loopback: bool) -> None:
    assert RepoUrl.parse(url).is_loopback is loopback
