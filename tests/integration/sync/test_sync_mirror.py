"""A mirror that is damaged, left half done or in use by somebody else is no reason to stop."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def mirror(platform: Any) -> Path:
    (folder,) = (platform.state / "sync/mirrors").glob("alpha-*.git")
    return folder


def no_packs(folder: Path) -> None:
    for path in [*folder.glob("objects/pack/*"), *folder.glob("objects/??/*")]:
        path.unlink()


def empty_objects(folder: Path) -> None:
    for path in [*folder.glob("objects/pack/*"), *folder.glob("objects/??/*")]:
        path.chmod(0o600)
        path.write_bytes(b"")


def flipped_bits(folder: Path) -> None:
    for path in [*folder.glob("objects/pack/*.pack"), *folder.glob("objects/??/*")]:
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def no_head(folder: Path) -> None:
    (folder / "HEAD").unlink()


def garbage_in_shallow(folder: Path) -> None:
    (folder / "shallow").write_bytes(b"\0garbage\n")


def no_shallow(folder: Path) -> None:
    (folder / "shallow").unlink()


def garbage_in_the_ref(folder: Path) -> None:
    (folder / "refs/aerodrome/tracked").write_text("garbage\n")


def file_instead_of_folder(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.write_text("not a folder")


DAMAGES = [
    no_packs,
    empty_objects,
    flipped_bits,
    no_head,
    garbage_in_shallow,
    no_shallow,
    garbage_in_the_ref,
    file_instead_of_folder,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("same", [False, True], ids=["new commit", "same commit"])
def test_damaged_mirror_is_made_again(
    platform: Any, repository: Any, head_of: Any, damage: Callable[[Path], None], same: bool
) -> None:
    commit = repository.commit({f"{number}.py": str(number) for number in range(150)})  # kept as a pack
    platform.team("alpha", repository.path)
    platform.sync()
    damage(mirror(platform))
    if same:
        (platform.state / f"store/teams/alpha/snapshots/{commit}.json").unlink()
    else:
        commit = repository.commit({"a.py": "new"})
    assert platform.sync() == 0
    assert (head_of("alpha").snapshot, head_of("alpha").error) == (commit, None)
    assert len(platform.files("alpha")) == (150 if same else 151)


def test_what_a_killed_git_left_is_removed(platform: Any, repository: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", repository.path)
    platform.sync()
    folder = mirror(platform)
    left = [
        folder / "shallow.lock",
        folder / "refs/aerodrome/tracked.lock",
        folder / "objects/pack/tmp_pack_1",
        folder.with_suffix(".pack"),
    ]
    for path in left:
        path.write_bytes(b"half")
    folder.with_suffix(".busy").touch()
    commit = repository.commit({"a.py": "2"})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    assert not [path for path in left if path.exists()]
    assert folder == mirror(platform)
    assert not folder.with_suffix(".busy").exists()


def test_mirror_that_an_orphan_works_on_is_left_alone(platform: Any, repository: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", repository.path)
    platform.sync()
    folder = mirror(platform)
    commit = repository.commit({"a.py": "2"})
    with folder.with_suffix(".lock").open() as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        assert platform.sync() == 0
    assert head_of("alpha").snapshot == commit
    assert (folder / "refs/aerodrome/tracked").read_text().strip() != commit


def test_mirrors_of_teams_that_are_gone_are_removed(platform: Any, repository: Any, new_repository: Any) -> None:
    repository.commit({"a.py": "1"})
    other = new_repository("other.git")
    other.commit({"a.py": "another"})
    platform.team("alpha", repository.path)
    platform.team("beta", repository.path)
    platform.sync()
    platform.config["teams"] = []
    platform.team("alpha", other.path)
    platform.sync()
    (folder,) = (platform.state / "sync/mirrors").glob("*.git")
    assert folder.name.startswith("alpha-")
    assert (folder / "refs/aerodrome/tracked").read_text().strip() == other.git("rev-parse", "main")


def test_many_fetches_do_not_leave_many_files(platform: Any, repository: Any, head_of: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", repository.path)
    platform.sync()
    folder = mirror(platform)
    for number in range(60):
        (folder / f"objects/pack/pack-{number:040x}.pack").touch()  # git ignores a pack without an index
        (folder / f"objects/pack/pack-{number:040x}.pack").chmod(0o600)
    commit = repository.commit({"a.py": "2"})
    assert platform.sync() == 0
    third = repository.commit({"a.py": "3"})
    assert platform.sync() == 0
    assert head_of("alpha").snapshot == third != commit
    assert len(list(folder.glob("objects/??/*"))) < 20
