"""A store behind HTTP: what it costs, how it fails, and what a forked child does."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aerodrome.errors import Temporary
from aerodrome.store import Entry, Head, Manifest, SnapshotMissing, Store, StoreUnavailable, Unchanged, cloud, now
from aerodrome.store.forked import RemoteObjects, _Helper


@pytest.fixture(autouse=True)
def _few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "RETRIES", 1)


@pytest.fixture
def store(service: Any) -> Store:
    return Store("s3://bucket/a prefix", service.options)


def forked(work: Callable[[], None]) -> None:
    """Do `work` in a forked child, which is killed when it hangs."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def exercise(store: Store, tmp_path: Path) -> None:
    assert store.create("a/b", b"1")
    assert not store.create("a/b", b"2")
    entry = store.read("a/b")
    assert isinstance(entry, Entry) and entry.data == b"1"
    assert isinstance(store.read_if_changed("a/b", entry.tag), Unchanged)
    assert store.read("nothing") is None
    tag = store.swap("a/b", b"2", entry.tag)
    assert tag is not None
    assert store.swap("a/b", b"3", entry.tag) is None
    (tmp_path / "file").write_bytes(b"x" * 2_000_000)
    store.upload("a/large", tmp_path / "file")
    assert store.size("a/large") == 2_000_000
    chunks, again = store.chunks("a/large"), store.chunks("a/large")
    assert chunks is not None and again is not None
    assert next(again)[:1] == b"x"
    assert b"".join(chunks) == b"x" * 2_000_000
    again.close()
    assert store.chunks("nothing") is None
    assert list(store.list("a")) == ["a/b", "a/large"]
    store.delete("a/b")
    store.delete("a/large")
    assert list(store.list("a")) == []


def test_it_does_what_a_folder_does(store: Store, service: Any, tmp_path: Path) -> None:
    exercise(store, tmp_path)
    assert list(service.objects) == ["a prefix/store.json"]


def test_a_child_of_a_process_that_used_it_can_use_it(store: Store, service: Any, tmp_path: Path) -> None:
    store.write("before", b"1")
    helpers: list[object] = []

    def work() -> None:
        exercise(store, tmp_path)
        exercise(Store(store.url, service.options), tmp_path)
        objects = store._objects
        assert isinstance(objects, RemoteObjects) and isinstance(objects._helper, _Helper)
        helpers.append(objects._helper)
        service_error = Store(store.url, {**service.options, "endpoint": "http://127.0.0.1:9"})
        with pytest.raises(StoreUnavailable, match="can not read a"):
            service_error.read("a")
        # the helper dies: an error, and the next request starts another
        assert objects._helper._idle is not None
        objects._helper._idle.kill()
        objects._helper._idle.wait()
        with pytest.raises(StoreUnavailable, match="has died"):
            store.read("before")
        entry = store.read("before")
        assert entry is not None and entry.data == b"1"

    forked(work)
    entry = store.read("before")
    assert entry is not None and entry.data == b"1"
    assert helpers == []  # what the child did stayed in the child


def test_a_child_of_a_process_that_did_not_use_it_needs_no_helper(service: Any) -> None:
    def parent() -> None:  # itself a child of pytest, which may have used a store before
        from aerodrome.store import forked as module

        module._first_user = None
        store = Store("s3://bucket", service.options)

        def work() -> None:
            module._first_user = None
            objects = store._objects
            assert isinstance(objects, RemoteObjects)
            assert objects._objects() is objects._direct

        forked(work)

    forked(parent)


def test_a_poll_without_news_is_one_request(store: Store, service: Any) -> None:
    team = store.team("payments")
    team.set_head(Head(snapshot=None, commit=None, ref="main", seen=now()))
    seen = team.head_if_changed(None)
    assert seen is not None and not isinstance(seen, Unchanged)
    service.requests.clear()
    for _ in range(10):
        assert isinstance(team.head_if_changed(seen.tag), Unchanged)
    assert len(service.requests) == 10


def test_a_download_is_two_requests(store: Store, service: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"archive")
    manifest = Manifest(
        snapshot="a" * 40,
        commit="a" * 40,
        author="",
        subject="",
        time=now(),
        digest=f"sha256:{hashlib.sha256(b'archive').hexdigest()}",
        size=7,
        unpacked=1,
        files=1,
    )
    store.team("payments").publish(tmp_path / "a", manifest)
    service.requests.clear()
    worker = Store(store.url, service.options)
    worker.team("payments").download("a" * 40, io.BytesIO())
    assert len(service.requests) == 2
    with pytest.raises(SnapshotMissing):
        worker.team("payments").download("b" * 40, io.BytesIO())


@pytest.mark.parametrize(
    ("failure", "what", "remedy"),
    [
        ((403, "AccessDenied"), "not allowed to", "credentials"),
        ((401, "Unauthorized"), "not allowed to", "credentials"),
        ((404, "NoSuchBucket"), "the bucket or container does not exist", "Create it"),
        ((500, "InternalError"), "can not", "network"),
        ((503, "SlowDown"), "can not", "network"),
        ((301, "PermanentRedirect"), "can not", "network"),
        ("hang", "can not", "network"),
        ("cut", "can not", "network"),
    ],
)
def test_a_failing_service_is_never_an_empty_store(service: Any, failure: object, what: str, remedy: str) -> None:
    Store("s3://bucket", service.options).write("a", b"1")
    hurry = {"timeout": "300ms", "read_timeout": "300ms"} if failure == "hang" else {}
    store = Store("s3://bucket", {**service.options, **hurry})
    assert store.read("nothing") is None
    service.failure = failure
    calls: list[Callable[[], object]] = [lambda: store.read("a"), lambda: store.read_if_changed("a", '"x"\t')]
    if failure != "cut":
        calls += [lambda: list(store.list("")), lambda: store.write("a", b"2")]
    if failure != "hang":
        calls += [lambda: b"".join(store.chunks("a") or ())]
    for call in calls:
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert isinstance(caught.value, Temporary)
        assert caught.value.what.startswith("store s3://bucket: ")
        assert what in caught.value.what
        assert remedy in caught.value.remedy
        assert "\n" not in caught.value.what + caught.value.remedy
        assert "hunter2secret" not in str(caught.value)
    service.failure = None
    entry = store.read("a")
    assert entry is not None and entry.data == b"1"


def test_nobody_at_the_address_is_one_clear_error(service: Any) -> None:
    store = Store("s3://bucket", {**service.options, "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable, match="can not read a"):
        store.read("a")
    store = Store("s3://bucket", {**service.options, "endpoint": "http://nowhere.invalid"})
    with pytest.raises(StoreUnavailable, match="can not read a"):
        store.read("a")


def test_a_wrong_prefix_is_not_an_empty_store(store: Store, service: Any) -> None:
    store.write("a", b"1")
    with pytest.raises(StoreUnavailable, match="there is no store yet"):
        Store("s3://bucket/another", service.options).read("a")
    service.objects.clear()
    store._seen = float("-inf")  # as after half a minute
    with pytest.raises(StoreUnavailable, match="there is no store any more"):
        store.read("a")
