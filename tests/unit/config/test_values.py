from __future__ import annotations

import subprocess

import pytest

from aerodrome.config.values import ref_problem, relative_folder, seconds, size_in_bytes


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("10s", 10), ("1.5m", 90), ("1h30m", 5400), ("1d", 86400), ("0s", 0)]
)
def test_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1 s", "1w", "1s ", "1.s", 10, 1.5, True, None, ["1s"]])
def test_no_seconds(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration with a unit"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1Ki", 1024), ("512Mi", 512 << 20), ("1.5Gi", 3 << 29), ("10k", 10_000), ("1G", 10**9)]
)
def test_size(text: str, value: int) -> None:
    assert size_in_bytes(text) == value


@pytest.mark.parametrize("text", ["", "10", "Mi", "-1Mi", "1 Mi", "1MB", "1mi", 10, None])
def test_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size with a unit"):
        size_in_bytes(text)


@pytest.mark.parametrize(
    ("text", "value"), [(".", ""), ("./", ""), ("dags", "dags"), ("a//b/./c/", "a/b/c"), (".github", ".github")]
)
def test_folder(text: str, value: str) -> None:
    assert relative_folder(text) == value


@pytest.mark.parametrize("text", ["", "/", "~/x", "..", "a/..", "a\0b", "a\\b", ".git", "./.git/x", None, 3])
def test_no_folder(text: object) -> None:
    with pytest.raises(ValueError, match=r"must|never"):
        relative_folder(text)


@pytest.mark.parametrize(
    "ref",
    [*["main", "feature/x", "v1.0", "a@b", "", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a b", "a\tb"],
     *["a.", "a/", "/a", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a@{b", "ü", "a\x7f", "-a"]],
)  # fmt: skip
def test_refs_are_judged_as_git_judges_them(ref: str) -> None:
    git = subprocess.run(["git", "check-ref-format", "--branch", ref], capture_output=True)
    assert (ref_problem(ref) is None) == (git.returncode == 0)
