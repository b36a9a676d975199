"""The service as a process: pace, hanging repositories, pokes, the end, and kill -9 at every step."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aerodrome.errors import UsageError

Until = Callable[..., Any]


def head_snapshot(platform: Any, team: str) -> str | None:
    if not (platform.state / "store/store.json").exists():
        return None
    head = platform.store.team(team).head()
    return head.snapshot if head else None


def end(process: Any) -> float:
    begun = time.monotonic()
    process.terminate()
    assert process.wait(10) == 0
    return time.monotonic() - begun


def children_of(pid: int) -> list[int]:
    """Processes of the same session tree: git runs in sessions of its own, so by parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
            found += children_of(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody waits for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_push_is_published_within_the_poll_and_the_processor_is_poked(
    platform: Any, repository: Any, server: Any, until: Until
) -> None:
    first = repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository), poll="1s")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as processor:
        processor.bind(("127.0.0.1", 0))
        processor.settimeout(15)
        process = platform.start(f"alpha,localhost,{processor.getsockname()[1]}")
        try:
            assert processor.recv(100) == b"alpha"
            assert head_snapshot(platform, "alpha") == first
            pushed = time.monotonic()
            second = repository.commit({"a.py": "2"})
            assert processor.recv(100) == b"alpha"
            assert head_snapshot(platform, "alpha") == second
            assert time.monotonic() - pushed < 8
        finally:
            took = end(process)
    assert took < 4
    log = platform.log.read_text()
    assert re.search(rf"Z INFO team=alpha commit={second} published {second[:9]}: 1 files", log)
    assert "Traceback" not in log


def test_a_hanging_repository_delays_nobody(
    platform: Any, new_repository: Any, server: Any, other_server: Any, until: Until, way: str
) -> None:
    """More repositories hang, at their look and at their fetch, than there are slots; the healthy one goes on."""
    healthy = new_repository("healthy.git")
    healthy.commit({"a.py": "1"})
    for number in range(20):
        hanging = new_repository(f"hanging{number}.git")
        hanging.commit({"a.py": "1"})
        platform.team(f"hanging{number}", server.url(hanging), poll="1s")
    platform.team("healthy", other_server.url(healthy), poll="1s")
    server.old = True  # there the look is the one request and the fetch the other
    server.hang = {f"hanging{number}.git/info" for number in range(10)} | {"/git-upload-pack"}
    process = platform.start()
    try:
        until(lambda: head_snapshot(platform, "healthy"))
        for number in range(2):
            pushed = time.monotonic()
            commit = healthy.commit({"a.py": f"later {number}"})
            until(lambda commit=commit: head_snapshot(platform, "healthy") == commit)
            assert time.monotonic() - pushed < 10
        assert server.hanging.is_set()
        git = children_of(process.pid)
        assert len(git) >= 20 or way != "git", "they do hang"
    finally:
        took = end(process)
    assert took < 4
    assert not [
        pid for pid in git if Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text()
    ]


@pytest.mark.parametrize("step", ["look", "fetch"])
def test_killed_while_git_runs(platform: Any, repository: Any, server: Any, until: Until, step: str) -> None:
    first = repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository))
    assert platform.sync() == 0
    second = repository.commit({"a.py": "2"})
    if step == "look":
        server.hang = {"info/refs"}
    else:
        posts = iter(range(100))
        real = server._answer

        def hang_at_fetch(request: Any) -> None:
            if request.command == "POST" and next(posts) == 1:
                server.hang.add("upload-pack")
            real(request)

        server._answer = hang_at_fetch
    process = platform.start()
    assert server.hanging.wait(15)
    orphans = children_of(process.pid)
    assert orphans
    process.kill()
    process.wait()
    assert head_snapshot(platform, "alpha") == first
    # The next one starts while the orphan still has the mirror.
    server.hang = set()
    assert platform.sync() == 0
    assert head_snapshot(platform, "alpha") == second
    assert platform.files("alpha") == {"a.py": b"2"}
    server.release()
    until(lambda: not [pid for pid in orphans if alive(pid)])


def test_killed_while_packing_and_uploading(platform: Any, repository: Any, until: Until) -> None:
    """kill -9 at many moments of one and the same publication: always the same bytes in the end."""
    commit = repository.commit({f"{number}.bin": os.urandom(1 << 20) for number in range(8)})
    platform.team("alpha", repository.path)
    assert platform.sync() == 0
    archive = platform.archive("alpha")
    killed_at: dict[str, int] = {}
    mirrors = platform.state / "sync/mirrors"
    for attempt in range(4):
        for path in (platform.state / "store/teams/alpha").rglob("*"):
            if path.is_file():
                path.unlink()
        process = platform.start()
        # Half of them at a certain size of the archive that is being packed, the others some time into the upload.
        if attempt % 2:
            until(partial(_packed_so_far, mirrors, attempt << 21))
            step = "pack"
        else:
            until(lambda: any((platform.state / "store/.aerodrome/aside").iterdir()) or _uploaded(platform, commit))
            time.sleep(0.002 * attempt)
            step = "upload"
        process.send_signal(signal.SIGKILL)
        process.wait()
        published = platform.store.team("alpha").manifest(commit) is not None
        killed_at[step] = killed_at.get(step, 0) + (not published)
        assert published or head_snapshot(platform, "alpha") is None
        assert platform.sync() == 0
        assert platform.archive("alpha") == archive
        assert not list(mirrors.glob("*.pack")) and not list(mirrors.glob("*.busy"))
    assert killed_at["pack"] == 2


def _packed_so_far(mirrors: Path, size: int) -> bool:
    return any(path.stat().st_size > size for path in mirrors.glob("*.pack"))


def _uploaded(platform: Any, commit: str) -> bool:
    return (platform.state / f"store/teams/alpha/snapshots/{commit}.tar.zst").exists()


def test_secrets_of_a_killed_process_are_removed_by_the_next(
    platform: Any, repository: Any, server: Any, tmp_path: Path
) -> None:
    repository.commit({"a.py": "1"})
    key = tmp_path / "token"
    key.write_text("a very secret token")
    platform.team("alpha", server.url(repository), credentials={"token": {"file": str(key)}})
    server.hang = {"info/refs"}
    process = platform.start()
    assert server.hanging.wait(15)
    process.kill()
    process.wait()
    server.release()

    def left() -> list[Path]:
        places = [*Path("/dev/shm").glob("aerodrome-*"), platform.state / "sync/secrets"]
        files = [path for place in places if os.access(place, os.R_OK) for path in place.rglob("*") if path.is_file()]
        return [path for path in files if "a very secret token" in path.read_text()]

    assert left()
    assert platform.sync() == 0
    assert not left()


def test_store_that_goes_away_and_comes_back(platform: Any, repository: Any, server: Any, until: Until) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", server.url(repository), poll="1s")
    process = platform.start()
    try:
        until(lambda: head_snapshot(platform, "alpha"))
        (platform.state / "store").rename(platform.state / "away")
        second = repository.commit({"a.py": "2"})
        until(lambda: "ERROR team=alpha" in platform.log.read_text())
        (platform.state / "away").rename(platform.state / "store")
        until(lambda: head_snapshot(platform, "alpha") == second)
    finally:
        end(process)


def test_once_says_by_its_code_whether_all_is_well(platform: Any, repository: Any) -> None:
    repository.commit({"a.py": "1"})
    platform.team("alpha", repository.path)
    platform.team("beta", repository.path.with_name("nowhere.git"))
    process = platform.start("--once")
    assert process.wait(20) == 1
    assert "one pass over 2 teams: 1 published, 1 failed" in platform.log.read_text()


def test_poke_for_a_team_that_is_none(platform: Any, repository: Any) -> None:
    platform.team("alpha", repository.path)
    with pytest.raises(UsageError, match="no team beta"):
        platform.sync({"beta": ("127.0.0.1", 1)})


def test_no_teams_is_no_error(platform: Any) -> None:
    assert platform.sync() == 0
