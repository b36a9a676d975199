from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from aerodrome.store import Head, Manifest, Store, TeamStore, Verdict, now

_numbers = itertools.count()


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri() if request.param == "file" else f"memory://{next(_numbers)}"


@pytest.fixture
def store(url: str) -> Store:
    store = Store(url)
    store.start()
    return store


@pytest.fixture
def team(store: Store) -> TeamStore:
    return store.team("payments")


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., Manifest]:
    def publish(team: TeamStore, snapshot: str, content: bytes = b"archive") -> Manifest:
        archive = tmp_path / f"{snapshot}.tar.zst"
        archive.write_bytes(content)
        manifest = Manifest(
            snapshot=snapshot,
            commit=snapshot[:40],
            author="Ada <ada@example.com>",
            subject="Add a DAG",
            time=now(),
            digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
            size=len(content),
            unpacked=3,
            files=1,
        )
        team.publish(archive, manifest)
        return manifest

    return publish


@pytest.fixture
def head() -> Callable[..., Head]:
    return lambda snapshot, **more: Head(
        snapshot=snapshot, commit=snapshot and snapshot[:40], ref="main", seen=now(), **more
    )


@pytest.fixture
def verdict() -> Callable[..., Verdict]:
    return lambda snapshot, **more: Verdict(
        **{"snapshot": snapshot, "hash": "h", "passed": True, "judged": now()} | more
    )
