"""Processes that parse one DAG file, from the side of who wants the result.

:class:`ParseProcess` is Airflow's ``DagFileProcessorProcess``, forked by the warm parent in place of this process, with
bounds on what it may send. Requests for variables and connections, results and logs go Airflow's own way.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, cast

import attrs
import msgspec
import structlog
from airflow.dag_processing.processor import DagFileProcessorProcess
from airflow.sdk.execution_time.comms import _RequestFrame
from airflow.sdk.execution_time.supervisor import ProcessTracker

from aerodrome.airflow import nursery, subreaper
from aerodrome.gate import Ending

ATTEMPTS = 3
"""At a file whose process was ended from outside."""

_KEPT = 1 << 20  # bytes of output and of logs of one child that reach its log
_ENDLESS = 1 << 26  # bytes, after which it is ended
_LARGEST = 1 << 28  # bytes of one message
_START = 60.0  # seconds for the warm parent to fork
_STUCK = 10.0  # seconds after a process's end for its sockets to close

Handler = Callable[[socket.socket], bool]


class NurseryLost(Exception):
    """The warm parent is gone, and all its children with it; the next fork starts another one."""


class Nursery:
    """The warm parent (:mod:`aerodrome.airflow.nursery`), started when it is needed.

    Args:
        environment: of a warm parent that is started as a program of its own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._control: socket.socket | None = None
        self._pid = 0
        self._program: subprocess.Popen[bytes] | None = None
        self._numbers = 0
        self._children: dict[int, Tracker] = {}
        self._selector: selectors.BaseSelector | None = None

    def fork(self) -> None:
        """Make the warm parent of this process: half the memory. Only while it has one thread and holds no secret."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            nursery.serve(theirs)
        theirs.close()
        self._use(ours, pid)

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Hear of children's ends by `selector`, whose values are pairs of a handler and what to do at its end."""
        self._selector = selector
        if self._control is not None:
            self._register(self._control)

    def start(self, root: Path, imports: Iterable[str], memory: int, descriptors: list[int]) -> Tracker:
        """Fork a child for one file.

        Args:
            root: folder of the snapshot.
            memory: bytes that it may use.
            descriptors: the child's ends of the four sockets, and the file for its last words.

        Raises:
            NurseryLost: there is no warm parent any more.
        """
        control = self._running()
        self._numbers += 1
        number = self._numbers
        tracker = Tracker(self, number)
        self._children[number] = tracker
        message = {"fork": number, "root": str(root), "imports": list(imports), "memory": memory}
        try:
            socket.send_fds(control, [json.dumps(message).encode()], descriptors)
            deadline = time.monotonic() + _START
            while not tracker.pid and self._control is control:
                if not select.select([control], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    raise OSError("no answer")
                self._hear(control)
        except OSError:
            self._lose()
        if not tracker.pid:
            raise NurseryLost("the warm parent is gone")
        return tracker

    def end(self, number: int, how: str) -> None:
        """Have a child ended, and everything that it started."""
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.sendall(json.dumps({"end": number, "how": how}).encode())

    def close(self, patience: float = 5.0) -> None:
        """End the warm parent with all its children, and wait for it.

        Args:
            patience: seconds.
        """
        pid = self._pid
        self._lose()
        deadline = time.monotonic() + patience
        while pid and not self._gone(pid):
            if time.monotonic() > deadline:
                subreaper.kill(pid)
                deadline = float("inf")
            time.sleep(0.005)

    def forget(self, number: int) -> None:
        """The child needs no report any more."""
        self._children.pop(number, None)

    def _running(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._program = subprocess.Popen(
                    [sys.executable, "-m", nursery.__name__, str(theirs.fileno())],
                    env=self._environment,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
            self._use(ours, self._program.pid)
        assert self._control is not None
        return self._control

    def _use(self, control: socket.socket, pid: int) -> None:
        self._control, self._pid = control, pid
        if self._selector is not None:
            self._register(control)

    def _register(self, control: socket.socket) -> None:
        assert self._selector is not None
        self._selector.register(control, selectors.EVENT_READ, (self._hear, lambda _: None))

    def _hear(self, control: socket.socket) -> bool:
        try:
            data = control.recv(nursery.PACKET)
        except OSError:
            data = b""
        if not data:
            if control is self._control:
                self._lose()
            return True  # it is closed already
        message = json.loads(data)
        if child := self._children.get(message.get("started", message.get("ended"))):
            child.hear(message)
        return True

    def _lose(self) -> None:
        control, self._control, self._pid = self._control, None, 0
        if control is None:
            return
        if self._selector is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(control)
        control.close()
        for child in list(self._children.values()):  # each of them forgets itself
            child.hear({"ended": child.number, "status": signal.SIGKILL, "how": "lost", "left": []})

    def _gone(self, pid: int) -> bool:
        if self._program is not None and self._program.pid == pid:
            return self._program.poll() is not None
        try:
            return os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            return True


class Tracker(ProcessTracker):
    """One child of the warm parent, as Airflow's supervisor follows a process."""

    class ProcessNotFound(Exception):
        """Never raised: who ended is known."""

    class TimeoutExpired(Exception):
        """It has not ended yet."""

    def __init__(self, nursery: Nursery, number: int) -> None:
        self._nursery = nursery
        self.number = number
        self._pid = 0
        self.how: str | None = None
        self.left: tuple[str, ...] = ()
        self._status: int | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._pid

    def hear(self, message: dict[str, Any]) -> None:
        """What the warm parent reports."""
        if "started" in message:
            self._pid = message["pid"]
        else:
            self._status = os.waitstatus_to_exitcode(message["status"])
            self.how = message["how"]
            self.left = tuple(message["left"])
            self._nursery.forget(self.number)

    def wait(self, timeout: float | None = None) -> int:
        """Exit code, negative for a signal; `timeout` is Airflow's and always 0."""
        if self._status is None:
            raise self.TimeoutExpired
        return self._status

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process alone; SIGKILL reaches all that it started."""
        if self._status is not None:
            return
        if sig == signal.SIGKILL:
            self._nursery.end(self.number, "time")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def end(self, how: str) -> None:
        """End it and all that it started; `how` is reported back."""
        if self._status is None:
            self._nursery.end(self.number, how)


@attrs.define(kw_only=True)
class ParseProcess(DagFileProcessorProcess):
    """The process of one file; what it may send is bounded."""

    trace: Any
    said: dict[str, int] = attrs.field(factory=dict)
    last_words: bytearray = attrs.field(factory=bytearray)
    _ended_at: float | None = attrs.field(default=None, init=False)

    @classmethod
    def start(  # type: ignore[override]
        cls,
        *,
        nursery: Nursery,
        root: Path,
        imports: Iterable[str],
        memory: int,
        path: str | os.PathLike[str],
        bundle_path: Path,
        bundle_name: str,
        dag_file_rel_path: str,
        callbacks: list[Any],
        logger: Any,
        **kwargs: Any,
    ) -> Self:
        """Start parsing the file at `path`.

        Args:
            root: folder of its snapshot.
            imports: folders for ``sys.path``, relative to `root`.
            memory: bytes that it may use.
            kwargs: as of Airflow's class.

        Raises:
            NurseryLost: the warm parent was lost; trying again starts another one.
        """
        pairs = [socket.socketpair() for _ in range(4)]
        trace = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the process
        try:
            tracker = nursery.start(root, imports, memory, [*(theirs.fileno() for _, theirs in pairs), trace.fileno()])
        except BaseException:
            for ours, _ in pairs:
                ours.close()
            trace.close()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        requests, stdout, stderr, logs = (ours for ours, _ in pairs)
        proc = cls(
            pid=tracker.pid,
            stdin=requests,
            process=tracker,
            process_log=logger,
            start_time=time.monotonic(),
            bundle_name=bundle_name,
            dag_file_rel_path=dag_file_rel_path,
            trace=trace,
            **kwargs,
        )
        proc._register_pipe_readers(stdout, stderr, requests, logs, data={})
        proc.had_callbacks = bool(callbacks)
        with contextlib.suppress(OSError):  # it ended already: seen by who looks at it
            proc._on_child_started(callbacks, path, bundle_path, bundle_name)
        return proc

    @property
    def tracker(self) -> Tracker:
        """The child as the warm parent knows it."""
        return cast(Tracker, self._process)

    def enforce(self, limit: float) -> None:
        """Have it ended when it is over its time; its end is collected as any other.

        Args:
            limit: seconds.
        """
        now = time.monotonic()
        if now - self.start_time > limit:
            self.tracker.end("time")
        # Its tree is gone, yet something holds a socket of it: a descriptor that was passed on.
        if self._check_subprocess_exit() is not None and not self.is_ready:
            self._ended_at = now if self._ended_at is None else self._ended_at
            if now - self._ended_at > _STUCK:
                self.cleanup_sockets_after_kill()

    def was_lost(self) -> bool:
        """Whether it was ended from outside, which says nothing about its file."""
        ending = self.ending()
        return ending is not None and (
            ending.how == "lost" or (ending.how, ending.number) == ("signal", signal.SIGKILL)
        )

    def ending(self) -> Ending | None:
        """How it ended, if that was without a result; None with one."""
        if self.parsing_result is not None:
            return None
        code, how = self._check_subprocess_exit(), self.tracker.how
        trace = os.pread(self.trace.fileno(), nursery.TRACE, 0).decode(errors="replace")
        stderr = bytes(self.last_words).decode(errors="replace")
        if how in ("time", "memory", "output", "lost"):
            return Ending(cast(Any, how), trace=trace, stderr=stderr)
        if code is not None and code < 0:
            return Ending("signal", -code, trace, stderr)
        return Ending("exit", code or 0, trace, stderr)

    def close(self) -> None:
        """As Airflow's; the file of the last words too."""
        super().close()  # type: ignore[no-untyped-call]
        self.trace.close()

    def send_msg(self, *args: Any, **kwargs: Any) -> None:
        """As Airflow's; that the child is gone is for :meth:`ending` to say."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().send_msg(*args, **kwargs)

    def _register_pipe_readers(
        self,
        stdout: socket.socket,
        stderr: socket.socket,
        requests: socket.socket,
        logs: socket.socket,
        *,
        data: dict[socket.socket, bytes],
    ) -> None:
        super()._register_pipe_readers(stdout, stderr, requests, logs, data=data)
        for stream in (stdout, stderr, logs):
            handler, on_close = self.selector.get_key(stream).data
            bounded = self._bounded(handler, self._open_sockets[stream])
            self.selector.modify(stream, selectors.EVENT_READ, (bounded, on_close))
        frames = _frames(self.handle_requests(structlog.get_logger("supervisor")))
        self.selector.modify(requests, selectors.EVENT_READ, (frames, self._on_socket_closed))

    def _bounded(self, handler: Handler, name: str) -> Handler:
        me = weakref.ref(self)
        scratch = bytearray(1 << 16)

        def bounded(stream: socket.socket) -> bool:
            self = me()
            if self is None:
                return False
            said = self.said.get(name, 0)
            if said < _KEPT:
                waiting = stream.recv(4096, socket.MSG_PEEK)
                self.said[name] = said + len(waiting)
                if name == "stderr":
                    self.last_words += waiting
                    del self.last_words[:-4096]
                return handler(stream)
            count = stream.recv_into(scratch)
            self.said[name] = said + count
            if said + count > _ENDLESS:
                self.tracker.end("output")
            return count > 0

        return bounded


def _frames(requests: Generator[None, _RequestFrame, None]) -> Handler:
    """As ``length_prefixed_frame_reader`` of Airflow's supervisor; one frame has a bounded size."""
    next(requests)
    decoder = msgspec.msgpack.Decoder(_RequestFrame)
    buffer = bytearray()

    def read(stream: socket.socket) -> bool:
        chunk = stream.recv(1 << 20)
        if not chunk:
            return False
        buffer.extend(chunk)
        while len(buffer) >= 4:
            length = int.from_bytes(buffer[:4], "big")
            if length > _LARGEST:
                return False
            if len(buffer) < 4 + length:
                break
            frame = bytes(buffer[4 : 4 + length])
            del buffer[: 4 + length]
            try:
                requests.send(decoder.decode(frame))
            except (StopIteration, msgspec.MsgspecError):
                return False
        return True

    return read
