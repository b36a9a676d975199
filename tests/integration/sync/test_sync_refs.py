"""What happens to the tracked ref, and what sync makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aerodrome.names import snapshot_id

Head = Callable[[str], Any]


def test_first_commit_is_published_with_its_manifest(platform: Any, repository: Any, head_of: Head) -> None:
    commit = repository.commit(
        {"dags/a.py": "print(1)\n", "run.sh": ("100755", "#!/bin/sh\n")}, message="First\n\nmore"
    )
    team = platform.team("alpha", repository.path)
    assert platform.sync() == 0
    head = head_of("alpha")
    assert (head.snapshot, head.commit, head.ref, head.error, head.by) == (
        commit,
        commit,
        "refs/heads/main",
        None,
        "poll",
    )
    manifest = team.manifest(commit)
    assert manifest is not None
    assert (manifest.author, manifest.subject, manifest.files, manifest.unpacked) == ("Ada Lovelace", "First", 2, 19)
    assert manifest.time.timestamp() == 1_700_000_060
    assert platform.files("alpha") == {"dags/a.py": b"print(1)\n", "run.sh": b"#!/bin/sh\n"}


def test_nothing_new_is_one_look_and_no_write(
    platform: Any, repository: Any, server: Any, head_of: Head, way: str
) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository))
    assert platform.sync() == 0
    before = {path: path.stat().st_mtime_ns for path in platform.state.rglob("*") if path.is_file()}
    server.requests.clear()
    assert platform.sync() == 0
    look = ["POST /dags.git/git-upload-pack"]
    assert [line.split("?")[0] for line in server.requests] == (
        ["GET /dags.git/info/refs", *look] if way == "git" else look
    )
    after = {path: path.stat().st_mtime_ns for path in platform.state.rglob("*") if path.is_file()}
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed <= {"askpass"}  # made anew at every start


def test_a_push_moves_the_head_and_keeps_the_old_snapshot(platform: Any, repository: Any, head_of: Head) -> None:
    first = repository.commit({"a.py": "1", "b.py": "2"})
    team = platform.team("alpha", repository.path)
    platform.sync()
    second = repository.commit({"a.py": "3", "b.py": None})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == second
    assert platform.files("alpha") == {"a.py": b"3"}
    assert sorted(team.snapshots()) == sorted([first, second])


def test_force_push_to_another_history_and_back(platform: Any, repository: Any, server: Any, head_of: Head) -> None:
    repository.commit({"a.py": "1"})
    old = repository.commit({"a.py": "2"})
    platform.team("alpha", server.url(repository))
    platform.sync()
    new = repository.commit({"z.py": "other"}, orphan=True)
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == new
    assert platform.files("alpha") == {"z.py": b"other"}
    repository.git("update-ref", "refs/heads/main", old)
    server.requests.clear()
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == old
    assert len(server.requests) == 1, "a snapshot that is published already is not fetched again"


def test_deleted_ref_keeps_the_snapshot_and_tells(platform: Any, repository: Any, head_of: Head) -> None:
    commit = repository.commit({"a.py": "1"}, branch="release")
    repository.commit({"a.py": "1"}, branch="releases")
    platform.team("alpha", repository.path, ref="release")
    platform.sync()
    repository.git("update-ref", "-d", "refs/heads/release")
    assert platform.sync() == 1
    head = head_of("alpha")
    assert head.snapshot == commit
    assert "has no release (any more); did you mean releases?" in head.error
    repository.git("update-ref", "refs/heads/release", commit)
    assert platform.sync() == 0
    assert head_of("alpha").error is None


def test_renamed_default_branch_is_followed(platform: Any, repository: Any, server: Any, head_of: Head) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository))
    platform.sync()
    repository.git("branch", "-m", "main", "trunk")
    repository.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    commit = repository.commit({"a.py": "2"}, branch="trunk")
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("alpha").ref) == (commit, "refs/heads/trunk")


def test_head_that_names_no_branch(platform: Any, repository: Any, head_of: Head) -> None:
    repository.commit({"a.py": "1"}, branch="trunk")
    platform.team("alpha", repository.path)
    assert platform.sync() == 1
    assert "names a branch that is not there; there are trunk" in head_of("alpha").error


def test_empty_repository_waits_for_its_first_commit(platform: Any, repository: Any, head_of: Head) -> None:
    platform.team("alpha", repository.path)
    assert platform.sync() == 1
    head = head_of("alpha")
    assert head.snapshot is None
    assert "is empty" in head.error
    commit = repository.commit({"a.py": "1"})
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("alpha").error) == (commit, None)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_repository_replaced_by_another_at_the_same_url(
    platform: Any, new_repository: Any, server: Any, head_of: Head, object_format: str
) -> None:
    first = new_repository()
    first.commit({"a.py": "1"})
    platform.team("alpha", server.url(first))
    platform.sync()
    shutil.rmtree(first.path)
    second = new_repository(object_format=object_format)
    commit = second.commit({"b.py": "2"})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    assert platform.files("alpha") == {"b.py": b"2"}


def test_shallow_boundary_moved_on_both_sides(
    platform: Any, new_repository: Any, repositories: Path, server: Any, head_of: Head
) -> None:
    """The repository is itself a shallow copy whose boundary moves under our shallow mirror."""
    source = new_repository("source.git")
    for number in range(4):
        source.commit({"a.py": str(number)})
    copy = repositories / "copy.git"
    source.git("clone", "-q", "--bare", "--depth=2", f"file://{source.path}", copy)
    platform.team("alpha", server.url("copy.git"))
    assert platform.sync() == 0
    for number in range(3):
        commit = source.commit({"a.py": f"later {number}"})
    source.git("-C", copy, "--git-dir", copy, "fetch", "-q", "--depth=1", f"file://{source.path}", "+main:main")
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    commit = source.commit({"a.py": "last"})
    source.git("-C", copy, "--git-dir", copy, "fetch", "-q", "--unshallow", f"file://{source.path}", "+main:main")
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit


@pytest.mark.parametrize("annotated", [True, False])
def test_tag_as_ref(platform: Any, repository: Any, server: Any, head_of: Head, annotated: bool) -> None:
    tag = ["-c", "user.name=a", "-c", "user.email=a@b", "tag", *(["-a", "-m", "x"] if annotated else [])]
    first = repository.commit({"a.py": "1"})
    repository.git(*tag, "v1", "main")
    repository.commit({"a.py": "2"})
    platform.team("alpha", server.url(repository), ref="v1")
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("alpha").ref) == (first, "refs/tags/v1")
    assert platform.files("alpha") == {"a.py": b"1"}
    third = repository.commit({"a.py": "3"})
    repository.git(*tag, "-f", "v1", "main")
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == third


def test_branch_wins_over_a_tag_of_the_same_name(platform: Any, repository: Any, head_of: Head) -> None:
    repository.commit({"a.py": "1"})
    repository.git("tag", "same", "main")
    commit = repository.commit({"a.py": "2"}, branch="same")
    platform.team("alpha", repository.path, ref="same")
    platform.sync()
    assert head_of("alpha").snapshot == commit


def test_tag_of_a_file_is_refused(platform: Any, repository: Any, head_of: Head) -> None:
    repository.commit({"a.py": "1"})
    repository.git("tag", "blob", repository.blob(b"content"))
    platform.team("alpha", repository.path, ref="blob")
    assert platform.sync() == 1
    assert "is a blob, not a commit" in head_of("alpha").error


@pytest.mark.parametrize("old", [False, True])
def test_full_commit_as_ref(platform: Any, repository: Any, server: Any, head_of: Head, old: bool) -> None:
    """`old`: the server gives out only what its refs are at, so the commit is found by way of them."""
    server.old = old
    wanted = repository.commit({"a.py": "1"})
    for number in range(3):
        repository.commit({"a.py": f"later {number}"})
    platform.team("alpha", server.url(repository), ref=wanted)
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("alpha").ref) == (wanted, wanted)
    assert platform.files("alpha") == {"a.py": b"1"}
    server.requests.clear()
    assert platform.sync() == 0
    assert server.requests == [], "a commit never moves: nothing to ask"


@pytest.mark.parametrize("old", [False, True])
def test_full_commit_that_is_nowhere(platform: Any, repository: Any, server: Any, head_of: Head, old: bool) -> None:
    server.old = old
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository), ref="1234567890" * 4)
    assert platform.sync() == 1
    assert "has no commit 1234567890" in head_of("alpha").error


def test_ref_in_full(platform: Any, repository: Any, head_of: Head) -> None:
    commit = repository.commit({"a.py": "1"})
    repository.git("update-ref", "refs/changes/1", commit)
    platform.team("alpha", repository.path, ref="refs/changes/1")
    assert platform.sync() == 0
    assert head_of("alpha").ref == "refs/changes/1"


def test_settings_are_part_of_the_id(platform: Any, repository: Any, head_of: Head) -> None:
    commit = repository.commit({"dags/a.py": "1", "lib/b.py": "2", "docs/c.md": "3", "libs/d.py": "4"})
    platform.team("alpha", repository.path, paths=["lib", "dags"])
    platform.sync()
    assert head_of("alpha").snapshot == snapshot_id(commit, {"paths": ["dags", "lib"]})
    assert platform.files("alpha") == {"dags/a.py": b"1", "lib/b.py": b"2"}
    platform.team("alpha", repository.path, paths=["dags"])
    assert platform.sync() == 0
    assert platform.files("alpha") == {"dags/a.py": b"1"}


def test_path_that_the_commit_does_not_have(platform: Any, repository: Any, head_of: Head) -> None:
    repository.commit({"dags/a.py": "1"})
    platform.team("alpha", repository.path, paths=["dags", "lib"])
    assert platform.sync() == 1
    assert "The commit has no lib, which the team's `paths` names" in head_of("alpha").error


def test_the_head_stands_after_a_wiped_snapshot_is_published_again(platform: Any, repository: Any) -> None:
    commit = repository.commit({"a.py": "1"})
    platform.team("alpha", repository.path)
    platform.sync()
    archive = platform.state / f"store/teams/alpha/snapshots/{commit}.tar.zst"
    first = archive.read_bytes()
    archive.unlink()
    assert platform.sync() == 0
    assert archive.read_bytes() == first


def test_two_teams_on_one_repository(platform: Any, repository: Any, head_of: Head) -> None:
    main = repository.commit({"a.py": "1"})
    other = repository.commit({"a.py": "2"}, branch="other")
    platform.team("alpha", repository.path)
    platform.team("beta", repository.path, ref="other")
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("beta").snapshot) == (main, other)
