"""The one door to short-lived subprocesses: deadline, bounded output, and the whole group ended with the child.

:func:`run` blocks, :func:`run_async` lets an event loop go on, :class:`Dialog` is for a child that answers questions.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

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


async def run_async(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str],
    cwd: Path | None = None,
    limit: int = 1 << 24,
    keep: Collection[int] = (),
    ceilings: Mapping[int, int] | None = None,
) -> Completed:
    """As :func:`run`, without blocking the running event loop; cancelling it kills the whole process group.

    Args:
        keep: file descriptors that the child (and what it starts) inherits, such as that of a held lock.
        ceilings: ``resource.RLIMIT_*`` to bytes, for the child and what it starts (Linux only; nothing elsewhere).

    Raises:
        TimedOut: at the deadline.
        FileNotFoundError: there is no such program.
    """
    import asyncio  # here: most who import this module have no event loop, and it costs them 50 ms

    started = time.monotonic()
    child = subprocess.Popen(
        list(argv),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=tuple(keep),
    )
    assert child.stdout and child.stderr
    loop = asyncio.get_running_loop()
    quiet = asyncio.Event()
    kept = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    open_ = set(kept)

    def readable(fd: int) -> None:
        chunk = os.read(fd, _CHUNK)
        if chunk:
            buffer = kept[fd]
            buffer += chunk[: max(0, limit - len(buffer))]
            return
        loop.remove_reader(fd)
        open_.discard(fd)
        if not open_:
            quiet.set()

    try:
        _set_ceilings(child.pid, ceilings or {})
        for fd in kept:
            loop.add_reader(fd, readable, fd)
        async with asyncio.timeout(timeout):
            await quiet.wait()
            # Both streams are closed: all but always the child has ended, or does within a millisecond.
            pause = 0.0005
            while child.poll() is None:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.1)
    except TimeoutError:
        raise TimedOut(argv, timeout) from None
    finally:
        for fd in open_:
            loop.remove_reader(fd)
        _end_group(child)
    out, err = (bytes(buffer) for buffer in kept.values())
    return Completed(tuple(argv), child.returncode, out, err, time.monotonic() - started)


def _set_ceilings(pid: int, ceilings: Mapping[int, int]) -> None:
    # From outside and just after the start: a preexec_fn is not safe beside threads and forbids vfork. What the child
    # does in that first millisecond needs no ceiling, and its own children inherit it.
    if sys.platform == "linux":
        for which, ceiling in ceilings.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, which, (ceiling, ceiling))


class Dialog:
    """A child that is asked on stdin and answers on stdout, such as ``git cat-file --batch``. A context manager.

    Args:
        timeout: seconds until the whole process group is killed, from the start; reads then meet the end of the stream.

    Raises:
        FileNotFoundError: there is no such program.
    """

    def __init__(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str], ceilings: Mapping[int, int] | None = None
    ) -> None:
        self.argv = tuple(argv)
        self._child = subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=1 << 17,
            start_new_session=True,
        )
        _set_ceilings(self._child.pid, ceilings or {})
        self._timer = threading.Timer(timeout, self._expire)
        self._timer.daemon = True
        self._timer.start()
        self.expired = False

    def _expire(self) -> None:
        self.expired = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    @property
    def stdin(self) -> IO[bytes]:
        """Buffered: flush it before waiting for an answer."""
        assert self._child.stdin
        return self._child.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Buffered: ``read(n)`` gives n bytes, or fewer at the end of the stream only."""
        assert self._child.stdout
        return self._child.stdout

    def complaint(self) -> str:
        """End the child, and give the last line that it said on stderr ("" when it said nothing)."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGTERM)
        assert self._child.stderr
        lines = self._child.stderr.read(_CHUNK).decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def __enter__(self) -> Dialog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _end_group(self._child)
