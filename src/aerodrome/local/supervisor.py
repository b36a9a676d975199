"""The process above all others: ``python -m aerodrome.local.supervisor -c FILE --state DIR [--open]``.

It is started by :mod:`aerodrome.local.guard`, writes what happens to stdout as lines of JSON, stops the platform when
its stdin ends, and answers other commands on a Unix socket: one line of JSON in, lines of JSON out, the last one with
``"event": "done"`` or ``"error"``. Requests: ``{"do": "status" | "apply" | "down" | "kill" | "follow"}``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError
from aerodrome.local import kinship
from aerodrome.local.control import address
from aerodrome.local.platform import Platform
from aerodrome.local.state import State

_LONGEST_QUEUE = 10_000


class Supervisor:
    """Runs one platform until it is told to stop.

    Args:
        installation: what to run.
        everyone_is_admin: no login, for a demonstration.
    """

    def __init__(self, installation: Installation, *, everyone_is_admin: bool) -> None:
        self._installation = installation
        self._open = everyone_is_admin
        self._state = State(installation.state)
        self._past: list[dict[str, Any]] = []
        self._followers: set[asyncio.Queue[dict[str, Any]]] = set()
        self._stop = asyncio.Event()
        self._now = False
        self._gone = asyncio.Event()
        self._changing = asyncio.Lock()
        self._platform: Platform | None = None

    async def run(self) -> int:
        """Until stopped. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_reader(sys.stdin.fileno(), self._lifeline)
        os.set_blocking(sys.stdout.fileno(), False)
        kinship.end(lambda: kinship.marked(self._state.folder))
        code = 0
        async with self._listening():
            try:
                self._platform = Platform(self._installation, self.report, everyone_is_admin=self._open)
                starting = loop.create_task(self._platform.start())
                stopping = loop.create_task(self._stop.wait())
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    await self._until_stopped()
                else:
                    starting.cancel()
                    await asyncio.wait({starting})
            except AerodromeError as error:
                code = error.exit_code
                self.report({"event": "error", "what": error.what, "remedy": error.remedy, "code": code})
            finally:
                self.report({"event": "stopping"})
                await self._stop_platform()
                self.report({"event": "stopped"})
                self._gone.set()
                await asyncio.sleep(0)
        return code

    def report(self, event: dict[str, Any]) -> None:
        """Tell the command above, and all who follow."""
        self._past = [*self._past[-500:], event]
        with contextlib.suppress(OSError):  # a command that reads no more must not hold the platform up
            os.write(sys.stdout.fileno(), json.dumps(event).encode() + b"\n")
        for queue in self._followers:
            if queue.qsize() < _LONGEST_QUEUE:
                queue.put_nowait(event)

    async def _until_stopped(self) -> None:
        assert self._platform is not None
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 60)
            self._platform.processes.shorten_logs()

    async def _stop_platform(self) -> None:
        if self._platform is None:
            return
        stopping = asyncio.get_running_loop().create_task(self._platform.stop(now=self._now))
        self._stop.clear()
        hurry = asyncio.get_running_loop().create_task(self._stop.wait())
        await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():  # asked a second time: at once
            stopping.cancel()
            await asyncio.wait({stopping})
            await self._platform.stop(now=True)
        hurry.cancel()

    def _asked_to_stop(self) -> None:
        self._stop.set()

    def _lifeline(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop.set()

    @contextlib.asynccontextmanager
    async def _listening(self) -> Any:
        path = self._state.control
        path.unlink(missing_ok=True)
        with address(path) as short:
            server = await asyncio.start_unix_server(self._answer, short)
        path.chmod(0o600)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(event: dict[str, Any]) -> None:
            writer.write(json.dumps(event).encode() + b"\n")

        try:
            try:
                do = json.loads(await reader.readline())["do"]
            except (ValueError, KeyError, TypeError):
                return
            if do == "status":
                say({"event": "done", **self._status()})
            elif do == "apply":
                await self._apply(say)
            elif do in ("down", "kill", "follow"):
                await self._follow(do, say, writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _status(self) -> dict[str, Any]:
        platform = self._platform
        return {
            "supervisor": os.getpid(),
            "url": platform.url if platform is not None else None,
            "ready": platform is not None and platform.is_ready,
            "open": self._open,
            "components": platform.rows() if platform is not None else [],
        }

    async def _apply(self, say: Any) -> None:
        async with self._changing:
            platform = self._platform
            if platform is None or not platform.is_ready:
                say({"event": "error", "what": "the platform is still starting", "remedy": "Wait for it.", "code": 1})
                return
            try:
                installation = Installation.open(self._installation.path, self._installation.state)
                done = await platform.apply(installation)
            except AerodromeError as error:
                say({"event": "error", "what": error.what, "remedy": error.remedy, "code": error.exit_code})
                return
            self._installation = installation
            say({"event": "done", "done": done, **self._status()})

    async def _follow(self, do: str, say: Any, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if do == "follow":
            for event in self._past:
                queue.put_nowait(event)
        self._followers.add(queue)
        try:
            if do != "follow":
                self._now = do == "kill"
                self._stop.set()
            gone = asyncio.ensure_future(self._gone.wait())
            while not (self._gone.is_set() and queue.empty()):
                getter = asyncio.ensure_future(queue.get())
                await asyncio.wait({getter, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not getter.done():
                    getter.cancel()
                    continue
                say(getter.result())
                await writer.drain()
        finally:
            self._followers.discard(queue)


def main() -> int:
    """Run it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="aerodrome.local.supervisor")
    parser.add_argument("-c", dest="config", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--open", action="store_true", help="everyone is an admin: for a demonstration")
    arguments = parser.parse_args()
    kinship.adopt_orphans()
    try:
        installation = Installation.open(arguments.config, arguments.state)
        state = State(installation.state)
        state.make()
        with state.locked():
            return asyncio.run(Supervisor(installation, everyone_is_admin=arguments.open).run())
    except AerodromeError as error:
        event = {"event": "error", "what": error.what, "remedy": error.remedy, "code": error.exit_code}
        print(json.dumps(event), flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
