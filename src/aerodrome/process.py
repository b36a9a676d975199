"""The one door to short-lived subprocesses: deadline, bounded output, and the whole group ended with the child."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Completed:
    """How a command ended. ``stdout`` and ``stderr`` are cut at the limit given to :func:`run`."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def error(self) -> str:
        """The last line that the command said on stderr (else stdout): what most programs put their reason into."""
        for stream in (self.stderr, self.stdout):
            lines = stream.decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        return f"exit code {self.code}"


class TimedOut(Exception):
    """The command was still running at its deadline; its whole process group was killed."""

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        super().__init__(f"{argv[0]} was still running after {seconds:g} s")
        self.seconds = seconds


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    limit: int = 1 << 24,
) -> Completed:
    """Run `argv` to its end.

    Args:
        argv: program and arguments; never a secret (every user of the machine can read it).
        timeout: seconds until the whole process group is killed.
        env: the complete environment of the child; nothing is inherited.
        stdin: bytes fed to the child.
        limit: bytes kept of each output stream; the rest is read and dropped, so that the child never blocks.

    Raises:
        TimedOut: at the deadline.
        FileNotFoundError: there is no such program.
    """
    started = time.monotonic()
    child = subprocess.Popen(
        list(argv),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = _converse(child, stdin, started + timeout, limit)
        code = child.wait(max(0.0, started + timeout - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimedOut(argv, timeout) from None
    finally:
        _end_group(child)
    return Completed(tuple(argv), code, out, err, time.monotonic() - started)


def _converse(child: subprocess.Popen[bytes], stdin: bytes, deadline: float, limit: int) -> tuple[bytes, bytes]:
    assert child.stdin and child.stdout and child.stderr
    kept = {child.stdout: bytearray(), child.stderr: bytearray()}
    view = memoryview(stdin)
    os.set_blocking(child.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        selector.register(child.stderr, selectors.EVENT_READ)
        if view:
            selector.register(child.stdin, selectors.EVENT_WRITE)
        else:
            child.stdin.close()
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(child.args, 0)
            for key, _ in selector.select(left):
                if key.fileobj is child.stdin:
                    try:
                        view = view[os.write(key.fd, view[:_CHUNK]) :]
                    except BrokenPipeError:
                        view = view[:0]
                    if not view:
                        selector.unregister(child.stdin)
                        child.stdin.close()
                    continue
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                buffer = kept[key.fileobj]  # type: ignore[index]
                buffer += chunk[: max(0, limit - len(buffer))]
    return bytes(kept[child.stdout]), bytes(kept[child.stderr])


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child's process group: git's helpers outlive a killed git."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
