from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from aerodrome.process import Completed, TimedOut, run

ENV = {"PATH": os.environ["PATH"]}


def sh(script: str, *, timeout: float = 20, **options: object) -> Completed:
    return run(["sh", "-c", script], timeout=timeout, env=ENV, **options)  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def await_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return gone(pid)


def test_output_and_code() -> None:
    done = sh("echo out; echo err >&2; exit 3")
    assert (done.code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert done.argv[0] == "sh" and 0 < done.seconds < 10


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo first >&2; echo 'fatal: no' >&2; exit 1", "fatal: no"),
        ("echo said; exit 1", "said"),
        ("exit 7", "exit code 7"),
    ],
)
def test_the_reason(script: str, error: str) -> None:
    assert sh(script).error == error


def test_nothing_is_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AERODROME_TEST_SECRET", "x")
    done = sh("env; pwd", cwd=tmp_path)
    assert b"AERODROME_TEST_SECRET" not in done.stdout
    assert str(tmp_path).encode() in done.stdout


def test_stdin_larger_than_a_pipe_while_output_flows() -> None:
    data = os.urandom(1 << 20)
    assert run(["cat"], timeout=20, env=ENV, stdin=data).stdout == data


def test_a_child_that_reads_no_stdin() -> None:
    assert run(["true"], timeout=20, env=ENV, stdin=b"x" * (1 << 20)).code == 0


def test_endless_output_is_cut_and_does_not_block() -> None:
    done = sh("head -c 3000000 /dev/zero; echo end >&2", limit=1000)
    assert len(done.stdout) == 1000 and done.stderr == b"end\n"


def test_the_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(TimedOut, match=r"still running after 0\.3 s"):
        sh(f"sleep 60 & echo $! > {file}; wait", timeout=0.3)
    assert await_gone(int(file.read_text()))


def test_what_a_child_left_behind_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    done = sh(f"sleep 60 >/dev/null 2>&1 </dev/null & echo $! > {file}")
    assert done.code == 0
    assert await_gone(int(file.read_text()))


def test_a_child_that_closes_its_output_and_stays() -> None:
    script = "import os, time; os.close(1); os.close(2); time.sleep(60)"
    with pytest.raises(TimedOut):
        run([sys.executable, "-c", script], timeout=1, env=ENV)


def test_no_such_program() -> None:
    with pytest.raises(FileNotFoundError):
        run(["there-is-no-such-program"], timeout=1, env=ENV)


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        sh("exit 0", stdin=b"x")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
