"""Remote objects that can be used on both sides of a fork.

obstore's threads do not survive a fork, and a child that uses it after its parent did waits for ever. Airflow forks a
child for each task, from a parent that uploads the log of the task before. Such a child asks a process of its own,
which is started when it is first needed (0.2 s) and ends with the child.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from aerodrome.errors import AerodromeError, UsageError
from aerodrome.store.cloud import CloudObjects, service
from aerodrome.store.errors import StoreForbidden, StoreUnavailable
from aerodrome.store.objects import UNCHANGED, Entry, Objects, Unchanged

_first_user: int | None = None
"""The process in which obstore's threads are."""


class RemoteObjects(Objects):
    """Objects of a service: asked directly where that works, else through another process."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        self._url = url
        self._options = dict(options)
        self._direct = CloudObjects(url, service(url, options), options)
        self._helper: _Helper | None = None

    def read(self, key: str, tag: str | None = None) -> Entry | Unchanged | None:
        return self._objects().read(key, tag)

    def swap(self, key: str, data: bytes, tag: str | None) -> str | None:
        return self._objects().swap(key, data, tag)

    def write(self, key: str, data: bytes) -> None:
        self._objects().write(key, data)

    def upload(self, key: str, path: Path) -> None:
        self._objects().upload(key, path)

    def delete(self, key: str) -> None:
        self._objects().delete(key)

    def size(self, key: str) -> int | None:
        return self._objects().size(key)

    def list(self, folder: str) -> Iterator[str]:
        return self._objects().list(folder)

    def chunks(self, key: str) -> Generator[bytes, None, None] | None:
        return self._objects().chunks(key)

    def _objects(self) -> Objects:
        global _first_user
        process = os.getpid()
        if _first_user is None:
            _first_user = process
        if _first_user == process:
            return self._direct
        if self._helper is None or self._helper.owner != process:
            self._helper = _Helper(self._url, self._options)
        return self._helper


class _Helper(Objects):
    """The same objects, asked through a process started for the purpose."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        self.owner = os.getpid()
        self._url = url
        self._options = options
        self._lock = threading.Lock()
        self._idle: subprocess.Popen[bytes] | None = None

    def read(self, key: str, tag: str | None = None) -> Entry | Unchanged | None:
        answer = self._ask("read", key, tag)
        return UNCHANGED if answer is False else None if answer is None else Entry(*answer)

    def swap(self, key: str, data: bytes, tag: str | None) -> str | None:
        found: str | None = self._ask("swap", key, data, tag)
        return found

    def write(self, key: str, data: bytes) -> None:
        self._ask("write", key, data)

    def upload(self, key: str, path: Path) -> None:
        self._ask("upload", key, os.fspath(path.absolute()))

    def delete(self, key: str) -> None:
        self._ask("delete", key)

    def size(self, key: str) -> int | None:
        found: int | None = self._ask("size", key)
        return found

    def list(self, folder: str) -> Iterator[str]:
        return iter(self._ask("list", folder))

    def chunks(self, key: str) -> Generator[bytes, None, None] | None:
        stream = self._stream(key)
        return stream if next(stream) else None

    def _stream(self, key: str) -> Generator[bytes, None, None]:
        """First whether there is such an object (a byte or none), then its content."""
        with self._asked("chunks", key) as process:
            there = self._answer(process)
            yield b"\1" if there else b""
            while there and (chunk := self._answer(process)):
                yield chunk

    def _ask(self, method: str, *arguments: Any) -> Any:
        with self._asked(method, *arguments) as process:
            return self._answer(process)

    @contextlib.contextmanager
    def _asked(self, *request: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A process that was asked and has no other request to answer; one with answers left over is ended."""
        with self._lock:
            process, self._idle = self._idle, None
        if process is None:
            process = self._start()
        usable = False
        try:
            _send(process.stdin, request)
            yield process
            usable = True
        except StoreUnavailable:
            usable = True  # an answer like any other
            raise
        except (OSError, EOFError):
            raise StoreUnavailable(f"store {self._url}: the process that asks it has died", "Try again.") from None
        finally:
            with self._lock:
                if usable and self._idle is None:
                    self._idle, process = process, None
            if process is not None:
                _end(process)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "aerodrome.store.forked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        _send(process.stdin, (self._url, self._options))  # through the pipe: options may hold secrets
        return process

    def _answer(self, process: subprocess.Popen[bytes]) -> Any:
        kind, value = _receive(process.stdout)
        if kind == "error":
            forbidden, what, remedy = value
            raise (StoreForbidden if forbidden else StoreUnavailable)(what, remedy)
        return value


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def _send(stream: Any, message: Any) -> None:
    data = marshal.dumps(message)
    stream.write(struct.pack("!Q", len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    data = stream.read(struct.unpack("!Q", head)[0])
    return marshal.loads(data)  # noqa: S302 - from the process at the other end of the pipe, which is this program


def _answers(objects: Objects, method: str, arguments: list[Any]) -> Iterator[Any]:
    if method == "chunks":
        chunks = objects.chunks(*arguments)
        yield chunks is not None
        if chunks is not None:
            yield from (chunk for chunk in chunks if chunk)
            yield b""
        return
    if method == "upload":
        arguments[1] = Path(arguments[1])
    answer = getattr(objects, method)(*arguments)
    if isinstance(answer, Entry):
        yield (answer.data, answer.tag)
    elif isinstance(answer, Unchanged):
        yield False
    else:
        yield list(answer) if method == "list" else answer


def _serve() -> None:
    """Answer requests from the standard input until it ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError, BrokenPipeError):
        url, options = _receive(requests)
        try:
            objects: Objects | UsageError = CloudObjects(url, service(url, options), options)
        except UsageError as error:
            objects = error
        while True:
            method, *arguments = _receive(requests)
            try:
                if isinstance(objects, UsageError):
                    raise objects
                for answer in _answers(objects, method, arguments):
                    _send(answers, ("answer", answer))
            except AerodromeError as error:
                _send(answers, ("error", (isinstance(error, StoreForbidden), error.what, error.remedy)))


if __name__ == "__main__":
    _serve()
    os._exit(0)
