"""The warm parent: a process that has imported what DAG files need, and forks a child for each file.

It never held a secret (see :mod:`aerodrome.airflow.environment`), runs no team code, has one thread, and is small: a
fork of it costs a third of one of Airflow's own dag-processor. What children imported of Airflow and its providers, it
imports too, so that the next child finds it there; never a module of the team's, which belongs to one snapshot.

It is the heir of everything its children start. A child's end is reported when nothing of it is left.

The other end of its socket is :class:`aerodrome.airflow.parse.Nursery`. Messages are JSON, one a packet::

    in   {"fork": number, "root", "imports", "memory"} with five descriptors: requests, stdout, stderr, logs, trace
         {"end": number, "how": "time" | "output"}
    out  {"started": number, "pid"}, {"ended": number, "status", "how", "left"}
"""

from __future__ import annotations

import array
import contextlib
import faulthandler
import gc
import importlib
import json
import os
import re
import resource
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from aerodrome.airflow import subreaper
from aerodrome.airflow.imports import use

DESCRIPTORS = 5
PACKET = 1 << 16
TRACE = 1 << 16

_TICK = 0.1  # seconds between two looks at the children's memory
_LAST_WORDS = 0.1  # seconds for a child to write where it is before it is killed
_MODULE = re.compile(r"airflow(\.[A-Za-z_]\w*)+")
_REHEARSAL = """
from airflow.sdk import DAG, Param, task, dag
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
@dag(schedule="@daily", tags=["a"], params={"a": Param(1)})
def aerodrome_rehearsal():
    @task
    def first(): return 1
    @task
    def second(x): return x
    second.expand(x=[first()]) >> BashOperator(task_id="third", bash_command="true")
aerodrome_rehearsal()
"""


@dataclass
class _Child:
    number: int
    pid: int
    modules: int
    trace: int
    memory: int
    how: str | None = None
    kill_at: float | None = None
    heard: bytearray = field(default_factory=bytearray)


def serve(control: socket.socket) -> NoReturn:
    """Be the warm parent until the other end of `control` is closed; then end everything and exit."""
    code = 1
    try:
        _serve(control)
        code = 0
    except BaseException:  # the process was forked inside of another program: it must not return there
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _serve(control: socket.socket) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its socket
    subreaper.adopt_orphans()
    subreaper.hide_memory()
    nursery = _Nursery(control)
    try:
        nursery.run()
    finally:
        subreaper.end_orphans(set())


class _Nursery:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, _Child] = {}
        self._known: set[str] = set()
        self._unlearned: list[str] = []
        self._base = 0
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(woken, selectors.EVENT_READ)
        self._inherited = (self._control, wake, woken)
        _rehearse()
        self._settle()
        while True:
            for key, _ in self._selector.select(_TICK if self._children else None):
                if key.fileobj is self._control:
                    if not self._hear():
                        return
                elif key.fileobj is woken:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
                else:
                    self._read_modules(key.fd, key.data)
            self._reap()
            self._watch()

    # --- messages ---

    def _hear(self) -> bool:
        data, descriptors = _receive(self._control)
        if not data:
            return False
        message = json.loads(data)
        if "fork" in message:
            self._fork(message, descriptors)
        elif child := self._children.get(message["end"]):
            self._end(child, message["how"])
        return True

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._control.sendall(json.dumps(message).encode())

    # --- a child's life ---

    def _fork(self, message: dict[str, Any], descriptors: list[int]) -> None:
        self._learn()
        modules, told = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(message, descriptors, told, parent)
        os.close(told)
        *others, trace = descriptors
        for descriptor in others:
            os.close(descriptor)
        os.set_blocking(modules, False)
        child = _Child(message["fork"], pid, modules, trace, message["memory"])
        self._children[child.number] = child
        self._selector.register(modules, selectors.EVENT_READ, child)
        self._tell({"started": child.number, "pid": pid})

    def _be_child(self, message: dict[str, Any], descriptors: list[int], told: int, parent: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            subreaper.die_with_parent(parent)
            subreaper.adopt_orphans()  # whoever flees from it stays in its tree
            for own in self._inherited:
                own.close()
            for sibling in self._children.values():
                os.close(sibling.modules)
                os.close(sibling.trace)
            self._selector.close()
            _limit(message["memory"])
            requests, stdout, stderr, logs, trace = descriptors
            run_child(
                (requests, stdout, stderr, logs),
                trace,
                told,
                lambda: use(Path(message["root"]), message["imports"]),
            )
        finally:
            os._exit(125)

    def _end(self, child: _Child, how: str) -> None:
        if child.kill_at is None:
            child.how = how
            child.kill_at = time.monotonic() + _LAST_WORDS
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGUSR2)

    def _reap(self) -> None:
        for child in list(self._children.values()):
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid == 0:
                    continue
                self._finish(child, status)

    def _finish(self, child: _Child, status: int) -> None:
        del self._children[child.number]
        left = subreaper.end_orphans({other.pid for other in self._children.values()})
        self._read_modules(child.modules, child)
        self._forget(child.modules)
        os.close(child.modules)
        os.close(child.trace)
        with contextlib.suppress(ValueError):
            names = json.loads(bytes(child.heard) or b"[]")
            self._unlearned += [name for name in names if isinstance(name, str) and _MODULE.fullmatch(name)]
        self._tell({"ended": child.number, "status": status, "how": child.how, "left": left[:20]})
        if not self._children:
            self._learn()

    def _watch(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.kill_at is not None:
                if now >= child.kill_at:
                    subreaper.kill(child.pid)
                continue
            used = max(0, subreaper.memory(child.pid) - self._base)
            used += sum(subreaper.memory(pid) for pid in subreaper.descendants(child.pid))
            if used > child.memory:
                self._end(child, "memory")

    # --- learning ---

    def _read_modules(self, descriptor: int, child: _Child) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(descriptor, PACKET):
                if len(child.heard) < 1 << 20:
                    child.heard += chunk
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def _learn(self) -> None:
        new = [name for name in dict.fromkeys(self._unlearned) if name not in self._known]
        self._unlearned.clear()
        self._known.update(new)
        new = [name for name in new if name not in sys.modules]
        for name in new:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
        if new:
            self._settle()

    def _settle(self) -> None:
        # Nothing that is here now will be looked at by a child's garbage collector, which would copy its page.
        gc.collect()
        gc.freeze()
        self._base = subreaper.memory(os.getpid())


def run_child(channels: tuple[int, int, int, int], trace: int, told: int, prepare: Callable[[], None]) -> NoReturn:
    """Run Airflow's own parsing of one file in this process, which was forked for it; never returns.

    Args:
        channels: sockets to the supervisor: requests, stdout, stderr, logs.
        trace: file that faulthandler writes to.
        told: where to report the modules of Airflow that were imported.
        prepare: run last before the file is parsed.
    """
    from airflow.dag_processing.processor import _parse_file_entrypoint
    from airflow.sdk.execution_time.supervisor import _fork_main

    def parse() -> None:
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
        _leave_traces(trace)
        before = set(sys.modules)
        prepare()
        _parse_file_entrypoint()
        new = sorted(name for name in set(sys.modules) - before if _MODULE.fullmatch(name))
        with contextlib.suppress(OSError):
            os.set_blocking(told, False)
            os.write(told, json.dumps(new).encode())

    requests, stdout, stderr, logs = channels
    _fork_main(socket.socket(fileno=requests), socket.socket(fileno=stdout), socket.socket(fileno=stderr), logs, parse)


def _leave_traces(trace: int) -> None:
    """Have this process write where it is when it crashes, when it ends itself, and on SIGUSR2."""
    faulthandler.enable(trace, all_threads=False)
    faulthandler.register(signal.SIGUSR2, trace, all_threads=False, chain=False)
    set_handler, leave = signal.signal, os._exit

    def signal_(number: int, handler: Any) -> Any:
        # Airflow sets a handler in Python for SIGSEGV, with which a real one is met again and again, for ever: the
        # handler runs only after the instruction that failed.
        if number == signal.SIGSEGV:
            return signal.SIG_DFL
        return set_handler(number, handler)

    def exit_(status: int) -> NoReturn:
        frame: FrameType | None = sys._getframe(1)
        if frame is not None and frame.f_globals.get("__name__") != "airflow.sdk.execution_time.supervisor":
            faulthandler.dump_traceback(trace, all_threads=False)
        leave(status)

    for module, name, function in ((signal, "signal", signal_), (os, "_exit", exit_)):
        setattr(module, name, function)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What is really used is watched; this is against a single huge step, and leaves room for libraries that reserve.
    ceiling = subreaper.address_space(os.getpid()) + 4 * memory
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _rehearse() -> None:
    """Parse and serialize a DAG, so that all that Airflow does only once is done."""
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.dag_processing.processor import _serialize_dags
    from airflow.sdk.execution_time import comms, task_runner  # noqa: F401 - children need them

    path, modules = sys.path[:], set(sys.modules)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):
        file = Path(folder, "rehearsal.py")
        file.write_text(_REHEARSAL)
        bag = BundleDagBag(dag_folder=str(file), bundle_path=Path(folder), load_op_links=False)
        import structlog

        _serialize_dags(bag, structlog.get_logger("aerodrome"))
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("unusual_prefix_"):
            del sys.modules[name]
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    descriptors = array.array("i")
    data, ancillary, _, _ = control.recvmsg(PACKET, socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


def _nothing(_number: int, _frame: FrameType | None) -> None: ...


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
