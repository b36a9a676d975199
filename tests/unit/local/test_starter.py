from __future__ import annotations

from pathlib import Path

import pytest

from aerodrome.config import load
from aerodrome.errors import AerodromeError, UsageError
from aerodrome.local import repository, starter


def test_the_starter_works_as_it_is(tmp_path: Path) -> None:
    configuration, repo = starter.write(tmp_path / "new")
    config = load(configuration)
    assert [team.name for team in config.teams] == ["starter"]
    assert Path(config.teams[0].repo_url.url.removeprefix("file://")) == repo
    assert repository.git(repo, "status", "--porcelain") == ""
    assert repository.git(repo, "branch", "--show-current") == "main"
    assert "dags/hello.py" in repository.git(repo, "ls-files").splitlines()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        starter.write(tmp_path)
    assert not (tmp_path / "aerodrome.yaml").exists()


def test_an_author_is_found_where_git_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    repository.create(tmp_path / "repo", "starter")
    assert repository.git(tmp_path / "repo", "log", "-1", "--format=%an") == "Aerodrome"
    repository.git(tmp_path / "repo", "config", "user.name", "Ada")
    (tmp_path / "repo" / "more.py").write_text("")
    repository.commit(tmp_path / "repo", "More")
    assert repository.git(tmp_path / "repo", "log", "-1", "--format=%an") == "Ada"


def test_the_git_of_a_hook_does_not_lead_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    repository.create(tmp_path / "repo", "search")
    assert (tmp_path / "repo" / ".git").is_dir()


def test_what_git_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(AerodromeError, match=r"git log failed in .*not a git repository"):
        repository.git(tmp_path, "log")
