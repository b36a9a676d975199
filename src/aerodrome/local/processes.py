"""Supervised processes: started, restarted with back-off, stopped with all that they started. Single-threaded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from aerodrome.errors import AerodromeError
from aerodrome.local import kinship
from aerodrome.local.identity import Identity

COMPONENT = "AERODROME_COMPONENT"
"""Environment variable of every process: the component that it belongs to."""
READY = "AERODROME_READY"
"""Environment variable: the file by which a component says that it works (aerodrome.airflow.ready)."""

Condition = Literal["starting", "ready", "waiting", "stopping", "stopped"]
Report = Callable[[dict[str, Any]], None]

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_SOUND_AFTER = 60.0
_LARGEST_LOG = 20 << 20
_ASK_AGAIN = 3.0  # seconds between two requests to end
_LAST_GRACE = 5.0


@dataclass(frozen=True)
class Spec:
    """One component.

    Args:
        name: unique; for people and as the name of its log file (``-`` for what can not stand in one).
        argv: the program and its arguments.
        env: its whole environment.
        ready: says whether it works; None: as soon as it runs.
        announces: whether it says itself that it works, by the file that ``AERODROME_READY`` names.
        identity: who it runs as; None: the user.
        stop: the signal that asks it to end.
        death: the signal that it gets when the supervisor dies.
        grace: seconds that it has to end before what it started is asked too; 5 s later all of it is killed.
        version: what else it was started from; another version is another component to restart.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    ready: Callable[[], Awaitable[bool]] | None = field(default=None, compare=False)
    announces: bool = False
    identity: Identity | None = None
    stop: signal.Signals = signal.SIGTERM
    death: signal.Signals = signal.SIGKILL
    grace: float = 10.0
    version: str = ""


class Component:
    """A spec and how it fares."""

    def __init__(self, spec: Spec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.condition: Condition = "starting"
        self.pid: int | None = None
        self.since = time.time()
        self.restarts = 0
        self.exit: int | None = None
        self.ended = asyncio.Event()
        self.is_ready = asyncio.Event()
        self.watcher: asyncio.Task[None] | None = None

    def row(self) -> dict[str, Any]:
        """For status."""
        return {
            "name": self.spec.name,
            "state": self.condition,
            "pid": self.pid,
            "since": self.since,
            "restarts": self.restarts,
            "exit": self.exit,
            "log": str(self.log),
        }

    def complaint(self) -> str:
        """The last line of its log that looks like an error, else the last one."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16384))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            wrong = [line for line in lines if "error" in line.lower()]
            return (wrong or lines or [""])[-1][:300]
        return ""


class Processes:
    """The components of one supervisor, which must have adopted orphans (:func:`kinship.adopt_orphans`).

    Args:
        logs: folder of the log files.
        cwd: where all of them run.
        report: is told of every change, as a mapping ready for JSON.
    """

    def __init__(self, logs: Path, cwd: Path, report: Report) -> None:
        self._logs = logs
        self._cwd = cwd
        self._report = report
        self._components: dict[str, Component] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def __getitem__(self, name: str) -> Component:
        return self._components[name]

    def __contains__(self, name: str) -> bool:
        return name in self._components

    def rows(self) -> list[dict[str, Any]]:
        """All components, as for status."""
        return [component.row() for component in self._components.values()]

    def specs(self) -> dict[str, Spec]:
        """What runs, by name."""
        return {name: component.spec for name, component in self._components.items()}

    async def run(self, spec: Spec) -> int:
        """Run `spec` once, to its end. Returns its exit code, negative for a signal."""
        log = self._log(spec)
        pid, ended = self._spawn(spec, log)
        try:
            return await ended
        finally:
            if not ended.done():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await self._sweep(spec.name)

    def start(self, spec: Spec) -> Component:
        """Start `spec` and keep it running."""
        assert spec.name not in self._components
        component = Component(spec, self._log(spec))
        self._components[spec.name] = component
        component.watcher = asyncio.get_running_loop().create_task(self._keep(component))
        return component

    async def stop(self, name: str, *, now: bool = False, grace: float | None = None) -> None:
        """Stop `name` and everything that it started; it is forgotten.

        Args:
            now: kill it.
            grace: seconds to end by itself, in place of the spec's.
        """
        component = self._components[name]
        if component.watcher is None:
            return
        watcher, component.watcher = component.watcher, None
        self._change(component, "stopping")
        watcher.cancel()
        await asyncio.wait([watcher])
        if component.pid is not None:
            await self._end(component, now=now, grace=component.spec.grace if grace is None else grace)
        await self._sweep(name)
        self._change(component, "stopped")
        self._components.pop(name, None)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send the component's main process a signal, if it runs."""
        pid = self._components[name].pid
        if pid is not None:
            os.kill(pid, number)

    def replace_spec(self, spec: Spec) -> None:
        """From its next start on the component is started as `spec` says."""
        self._components[spec.name].spec = spec

    async def _keep(self, component: Component) -> None:
        delay = _FIRST_DELAY
        while True:
            started = time.monotonic()
            component.since = time.time()
            self._change(component, "starting")
            component.pid, ended = self._spawn(component.spec, component.log)
            component.ended.clear()
            readiness = asyncio.get_running_loop().create_task(self._until_ready(component))
            try:
                component.exit = await asyncio.shield(ended)
            finally:
                readiness.cancel()
            component.pid = None
            component.is_ready.clear()
            component.ended.set()
            component.restarts += 1
            if time.monotonic() - started >= _SOUND_AFTER:
                delay = _FIRST_DELAY
            self._change(component, "waiting", exit=component.exit, detail=component.complaint(), delay=delay)
            await self._sweep(component.spec.name)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _until_ready(self, component: Component) -> None:
        ready, announced = component.spec.ready, self._announcement(component.spec)
        while (ready is not None and not await ready()) or (component.spec.announces and not announced.exists()):
            await asyncio.sleep(0.05)
        component.is_ready.set()
        self._change(component, "ready", seconds=round(time.time() - component.since, 2))

    async def _end(self, component: Component, *, now: bool, grace: float) -> None:
        pid = component.pid
        assert pid is not None
        ended = self._exits[pid]
        below = kinship.descendants(pid)
        if not now:
            deadline = time.monotonic() + grace
            while not ended.done() and (left := deadline - time.monotonic()) > 0:
                # More than once: Airflow's scheduler ends by an exception of its signal handler, which is lost when
                # the signal arrives in a finalizer.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, component.spec.stop)
                await _within(ended, min(_ASK_AGAIN, left))
            if not ended.done():
                below = kinship.descendants(pid)
                for process in below:
                    with contextlib.suppress(psutil.Error):
                        process.terminate()
                await _within(ended, _LAST_GRACE)
        for process in (*below, *kinship.descendants(pid)):
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares the start time: never a stranger with a number used again
        if not ended.done():
            # a database is never killed where it can be helped: it would have to recover
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, component.spec.death)
            await ended
        component.exit = ended.result()
        component.pid = None

    async def _sweep(self, name: str) -> None:
        """Kill what a component has left behind: its orphans, which this process has adopted."""
        for _ in range(100):
            left = [process for process in kinship.descendants() if _component(process) == name]
            if not left:
                return
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            await asyncio.sleep(0.02)

    def _spawn(self, spec: Spec, log: Path) -> tuple[int, asyncio.Future[int]]:
        become = spec.identity.assume() if spec.identity is not None else None
        arm = kinship.dies_with_parent(spec.death)

        def prepare() -> None:
            if become is not None:
                become()
            arm()  # last: changing the user disarms it

        _shorten(log)
        env = {**spec.env, COMPONENT: spec.name}
        if spec.announces:
            announcement = self._announcement(spec)
            announcement.unlink(missing_ok=True)
            env[READY] = str(announcement)
        with log.open("ab") as output:
            try:
                child = subprocess.Popen(
                    spec.argv,
                    env=env,
                    cwd=self._cwd if spec.identity is None else "/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=prepare,  # safe: this process has one thread
                )
            except OSError as error:
                raise AerodromeError(
                    f"{spec.name} can not be started: {spec.argv[0]}: {error.strerror}",
                    "Install it again: pip install --force-reinstall 'aerodrome[airflow,local]'.",
                ) from None
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._children[child.pid] = child
        self._exits[child.pid] = ended
        return child.pid, ended

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue  # an adopted orphan
            child.returncode = os.waitstatus_to_exitcode(status)
            ended = self._exits[pid]
            if not ended.done():
                ended.set_result(child.returncode)

    def _change(self, component: Component, condition: Condition, **details: Any) -> None:
        component.condition = condition
        self._report({"event": "component", "name": component.spec.name, "state": condition, **details})

    def _announcement(self, spec: Spec) -> Path:
        return self._logs / f".{spec.name.replace(' ', '-')}.ready"

    def _log(self, spec: Spec) -> Path:
        return self._logs / f"{spec.name.replace(' ', '-')}.log"

    def shorten_logs(self) -> None:
        """Keep the logs below 20 MB each, and one older piece of each."""
        for component in self._components.values():
            _shorten(component.log)


async def _within(ended: asyncio.Future[int], seconds: float) -> bool:
    done, _ = await asyncio.wait([ended], timeout=seconds)
    return bool(done)


def _component(process: psutil.Process) -> str | None:
    try:
        name = process.environ().get(COMPONENT)
    except (psutil.Error, OSError):
        return None
    return name


def _shorten(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size <= _LARGEST_LOG:
            return
        # Copied and cut: the component writes on at the end of the same file.
        older = log.with_suffix(".log.1")
        older.write_bytes(log.read_bytes())
        os.truncate(log, 0)
