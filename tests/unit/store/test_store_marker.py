"""A store that is not there is never taken for an empty one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aerodrome.store import Head, Store, StoreUnavailable


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.read("a"),
        lambda store: store.size("a"),
        lambda store: store.chunks("a"),
        lambda store: list(store.list("")),
        lambda store: store.delete("a"),
        lambda store: store.dag_id_owners(),
        lambda store: store.team("payments").head(),
        lambda store: store.team("payments").current(),
        lambda store: store.team("payments").current_if_changed("tag"),
        lambda store: store.team("payments").history(),
        lambda store: store.team("payments").snapshots(),
        lambda store: store.team("payments").unpin("ada"),
    ],
)
def test_nothing_is_absent_from_a_store_that_was_never_made(url: str, ask: Callable[[Store], object]) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store yet"):
        ask(Store(url))


def test_the_first_write_makes_the_store(url: str, head: Callable[..., Head]) -> None:
    Store(url).team("payments").set_head(head(None))
    reader = Store(url)
    assert reader.team("other").head() is None
    assert reader.dag_id_owners() == {}


def test_the_first_claim_makes_the_store(url: str) -> None:
    assert Store(url).claim_dag_ids("payments", ["a"]) == {}
    assert Store(url).dag_id_owners() == {"a": "payments"}


def test_a_disk_that_goes_away_is_no_empty_store(tmp_path: Path) -> None:
    folder, away = tmp_path / "store", tmp_path / "away"
    store = Store(folder.as_uri())
    store.write("a", b"1")
    assert store.read("b") is None

    folder.rename(away)
    for _ in range(2):  # the folder is gone; then an empty one is in its place, as with a mount point
        with pytest.raises(StoreUnavailable, match="there is no store any more"):
            store.read("a")
        with pytest.raises(StoreUnavailable, match="there is no store any more"):
            list(store.list(""))
        with pytest.raises(StoreUnavailable, match="there is no store any more"):
            store.write("a", b"2")
        folder.mkdir(exist_ok=True)
    assert list(folder.iterdir()) == []

    folder.rmdir()
    away.rename(folder)
    entry = store.read("a")
    assert entry is not None and entry.data == b"1"
    assert store.read("b") is None


def test_another_store_in_its_place_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = Store(folder.as_uri())
    store.write("a", b"1")
    folder.rename(tmp_path / "away")
    Store(folder.as_uri()).write("b", b"1")
    with pytest.raises(StoreUnavailable, match="another store"):
        store.read("a")
    with pytest.raises(StoreUnavailable, match="another store"):
        store.write("a", b"2")


def test_a_damaged_marker_is_no_marker(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    Store(folder.as_uri()).start()
    (folder / "store.json").write_text("{}")
    with pytest.raises(StoreUnavailable, match=r"store\.json is damaged"):
        Store(folder.as_uri()).read("a")


def test_a_folder_that_is_a_file_can_not_be_asked(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreUnavailable):
        Store((tmp_path / "store").as_uri()).read("a")
    with pytest.raises(StoreUnavailable):
        Store((tmp_path / "store").as_uri()).write("a", b"")
