"""What only a folder has to promise: a change is whole or not at all, whatever happens to its writer."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from aerodrome.store import Store, StoreUnavailable
from aerodrome.store.folder import FolderObjects


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "störe"


def test_objects_are_files_at_their_keys(folder: Path) -> None:
    Store(folder.as_uri()).write("teams/payments/head.json", b"{}")
    assert (folder / "teams/payments/head.json").read_bytes() == b"{}"


def test_nothing_is_left_aside(folder: Path, tmp_path: Path) -> None:
    store = Store(folder.as_uri())
    (tmp_path / "file").write_bytes(b"1")
    tag = store.swap("a", b"1", None)
    store.swap("a", b"2", tag)
    store.swap("a", b"3", tag)
    store.create("a", b"4")
    store.write("b", b"5")
    store.upload("c", tmp_path / "file")
    with pytest.raises(StoreUnavailable, match="can not write d: No such file"):
        store.upload("d", tmp_path / "nothing")
    assert list((folder / ".aerodrome/aside").iterdir()) == []


def test_what_a_killed_writer_left_aside_is_removed_when_it_is_old(folder: Path) -> None:
    Store(folder.as_uri()).write("a", b"1")
    aside = folder / ".aerodrome/aside"
    (aside / "old").write_bytes(b"half")
    (aside / "new").write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(aside / "old", (long_ago, long_ago))
    Store(folder.as_uri()).write("a", b"2")
    assert [file.name for file in aside.iterdir()] == ["new"]


def test_a_full_disk_is_one_clear_error_and_harms_nothing(folder: Path) -> None:
    store = Store(folder.as_uri())
    store.write("a", b"before")
    child = os.fork()
    if child == 0:
        # the kernel refuses to make files larger than this, as it refuses to write to a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            store.write("a", b"x" * 2000)
        except StoreUnavailable as error:
            os._exit(0 if "can not write a: File too large" in error.what and error.remedy else 2)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    entry = store.read("a")
    assert entry is not None and entry.data == b"before"
    assert list((folder / ".aerodrome/aside").iterdir()) == []


@pytest.mark.parametrize("number", [28, 122, 13, 30, 5, 116])
def test_each_error_of_the_system_has_its_remedy(number: int, folder: Path) -> None:
    with (
        pytest.raises(StoreUnavailable) as caught,
        FolderObjects(folder)._errors("read a"),
    ):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in caught.value.what
    word = {28: "Free space", 122: "Free space", 13: "right to read", 30: "right to read"}.get(number, "mounted")
    assert word in caught.value.remedy


def test_equal_content_has_an_equal_tag_and_other_content_another_one(folder: Path) -> None:
    """Modification time, size and inode number can all repeat; the digest of the content can not."""
    store = Store(folder.as_uri())
    tags = set()
    for number in range(200):
        store.write("a", b"%03d" % number)
        entry = store.read("a")
        assert entry is not None
        tags.add(entry.tag)
    assert len(tags) == 200


def test_a_key_below_an_object_is_absent_and_can_not_be_written(folder: Path) -> None:
    store = Store(folder.as_uri())
    store.write("a", b"1")
    assert store.read("a/b") is None
    assert store.size("a/b") is None
    with pytest.raises(StoreUnavailable, match="can not write a/b"):
        store.write("a/b", b"1")
    store.write("c/d", b"1")
    assert store.read("c") is None
    with pytest.raises(StoreUnavailable, match="can not write c: "):
        store.write("c", b"1")
