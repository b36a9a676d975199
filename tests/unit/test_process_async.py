from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from aerodrome.process import Completed, Dialog, TimedOut, run_async

ENV = {"PATH": os.environ["PATH"]}


def sh(script: str, *, timeout: float = 20, **options: object) -> Completed:
    return asyncio.run(run_async(["sh", "-c", script], timeout=timeout, env=ENV, **options))  # type: ignore[arg-type]


def await_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise AssertionError("it is still there")


def test_output_code_and_environment() -> None:
    done = sh("echo out; echo err >&2; env | grep -c . ; exit 3")
    assert (done.code, done.stderr) == (3, b"err\n")
    assert done.stdout.startswith(b"out\n")


def test_output_is_bounded() -> None:
    assert sh("head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2", limit=1000).stdout == bytes(1000)


def test_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    with pytest.raises(TimedOut):
        sh(f"sleep 100 & echo $! > {tmp_path}/pid; wait", timeout=0.3)
    await_gone(int((tmp_path / "pid").read_text()))


def test_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    async def check() -> None:
        script = f"sleep 100 & echo $! > {tmp_path}/pid.aside; mv {tmp_path}/pid.aside {tmp_path}/pid; wait"
        task = asyncio.ensure_future(run_async(["sh", "-c", script], timeout=60, env=ENV))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(check())
    await_gone(int((tmp_path / "pid").read_text()))


def test_many_at_once_do_not_wait_for_each_other() -> None:
    async def check() -> float:
        begun = time.monotonic()
        await asyncio.gather(*(run_async(["sleep", "0.3"], timeout=20, env=ENV) for _ in range(10)))
        return time.monotonic() - begun

    assert asyncio.run(check()) < 2


def test_child_that_closes_its_streams_is_waited_for() -> None:
    assert sh("exec >&- 2>&-; sleep 0.1; exit 4").code == 4


def test_inherited_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        assert sh(f"echo held >/dev/fd/{lock.fileno()}", keep=[lock.fileno()]).code == 0
    assert (tmp_path / "lock").read_text() == "held\n"


@pytest.mark.skipif(sys.platform != "linux", reason="ceilings are set on Linux only")
def test_ceilings_reach_grandchildren() -> None:
    done = sh("sleep 0.05; sh -c 'ulimit -f'", ceilings={resource.RLIMIT_FSIZE: 1024 * 512})
    assert done.stdout.strip() == b"1024"


def test_dialog() -> None:
    with Dialog(["cat"], timeout=20, env=ENV) as cat:
        for word in (b"one\n", b"two\n"):
            cat.stdin.write(word)
            cat.stdin.flush()
            assert cat.stdout.readline() == word


def test_dialog_that_complains() -> None:
    with Dialog(["sh", "-c", "echo bad news >&2; exit 1"], timeout=20, env=ENV) as child:
        assert child.stdout.read() == b""
        assert child.complaint() == "bad news"


def test_dialog_ends_at_its_deadline(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; wait"
    with Dialog(["sh", "-c", script], timeout=0.3, env=ENV) as child:
        assert child.stdout.read() == b""
        assert child.expired
    await_gone(int((tmp_path / "pid").read_text()))
