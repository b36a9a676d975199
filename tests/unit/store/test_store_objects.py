"""What every kind of store does with objects."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from aerodrome.errors import UsageError
from aerodrome.store import Entry, Store, StoreUnavailable, Unchanged


def test_an_absent_object_is_none_everywhere(store: Store) -> None:
    assert store.read("a/b") is None
    assert store.read_if_changed("a/b", None) is None
    assert store.read_if_changed("a/b", "some tag") is None
    assert store.size("a/b") is None
    assert store.chunks("a/b") is None
    assert list(store.list("a")) == []
    store.delete("a/b")


def test_create_is_won_once(store: Store) -> None:
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    entry = store.read("a")
    assert entry is not None and entry.data == b"1"


def test_swap_needs_the_tag_of_what_is_there(store: Store) -> None:
    first = store.swap("a", b"1", None)
    assert first is not None
    second = store.swap("a", b"2", first)
    assert second not in (None, first)
    assert store.swap("a", b"3", first) is None
    assert store.swap("a", b"3", None) is None
    assert store.read("a") == Entry(b"2", str(second))
    store.delete("a")
    assert store.swap("a", b"3", second) is None
    assert store.read("a") is None


def test_a_conditional_read_says_whether_something_changed(store: Store) -> None:
    store.write("a", b"1")
    entry = store.read("a")
    assert entry is not None
    assert isinstance(store.read_if_changed("a", entry.tag), Unchanged)
    store.write("a", b"2")
    changed = store.read_if_changed("a", entry.tag)
    assert isinstance(changed, Entry) and changed.data == b"2"


def test_large_objects_come_in_pieces(store: Store, tmp_path: Path) -> None:
    content = os.urandom(7 << 20)
    (tmp_path / "file").write_bytes(content)
    store.upload("a", tmp_path / "file")
    assert store.size("a") == len(content)
    chunks = store.chunks("a")
    assert chunks is not None
    assert b"".join(chunks) == content


def test_list_is_by_folder_and_in_the_order_of_bytes(store: Store) -> None:
    for key in ("f/b", "f/a/x", "f/ab", "g/a", "fa/a", "f/B"):
        store.write(key, b"")
    assert list(store.list("f")) == ["f/B", "f/a/x", "f/ab", "f/b"]
    assert list(store.list("f/")) == ["f/B", "f/a/x", "f/ab", "f/b"]
    assert list(store.list("f/a")) == ["f/a/x"]
    assert list(store.list("")) == ["f/B", "f/a/x", "f/ab", "f/b", "fa/a", "g/a", "store.json"]


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", "./a", "a/.", "a\0b", "a\nb", "a\\b"),
        *(".aerodrome/lock", "a" * 256, "/".join(["a" * 200] * 6)),
    ],
)
def test_a_key_can_not_leave_the_store(store: Store, key: str, tmp_path: Path) -> None:
    for call in (
        lambda: store.read(key),
        lambda: store.size(key),
        lambda: store.chunks(key),
        lambda: store.create(key, b""),
        lambda: store.write(key, b""),
        lambda: store.upload(key, tmp_path),
        lambda: store.delete(key),
    ):
        with pytest.raises(ValueError, match="not a key"):
            call()


def test_keys_of_logs_are_keys(store: Store) -> None:
    key = "logs/dag_id=zahlung.ü/run_id=manual__2026-01-01T00:00:00+00:00/task_id=a b/map_index=1/attempt=1.log"
    store.write(key, b"x")
    assert list(store.list("logs")) == [key]
    entry = store.read(key)
    assert entry is not None and entry.data == b"x"


def test_threads_race_for_a_swap_and_one_wins(store: Store) -> None:
    tag = store.swap("a", b"0", None)
    start = threading.Barrier(8)
    won: list[int] = []

    def race(number: int) -> None:
        start.wait()
        if store.swap("a", b"%d" % number, tag) is not None:
            won.append(number)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = store.read("a")
    assert entry is not None
    assert [entry.data] == [b"%d" % n for n in won]


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("nowhere", {}, "unknown kind of store"),
        ("ftp://host/a", {}, "unknown kind of store"),
        ("file://relative/a", {}, "not a folder of this machine"),
        ("file:///", {}, "not a folder of this machine"),
        ("file:///a", {"region": "x"}, "takes no options"),
        ("s3://", {}, "s3://"),
        ("s3://bucket", {"regio": "x"}, "regio"),
        ("s3://user:hunter2@bucket", {}, "holds credentials"),
        ("s3://bucket?secret=hunter2", {}, "holds credentials"),
        ("az://container", {}, "Account must be specified"),
        ("s3://bucket", {"timeout": "soon"}, "s3://bucket"),
        ("gs://bucket", {"service_account_key": "hunter2"}, "gs://bucket"),
        ("http://[", {}, "unknown kind of store"),
    ],
)
def test_a_store_that_can_not_be_opened_is_a_mistake_of_two_lines(url: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Store(url, options).read("a")
    assert says in caught.value.what
    assert "\n" not in caught.value.what + caught.value.remedy
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)


def test_the_same_memory_is_seen_under_the_same_url() -> None:
    Store("memory://shared").write("a", b"1")
    entry = Store("memory://shared/").read("a")
    assert entry is not None and entry.data == b"1"
    with pytest.raises(StoreUnavailable):
        Store("memory://another").read("a")
