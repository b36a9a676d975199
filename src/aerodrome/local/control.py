"""How other commands talk to a running supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aerodrome.errors import AerodromeError
from aerodrome.local.state import State


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """A name for the socket `path` that is short enough for the kernel, however deep the folder is."""
    if sys.platform != "linux":
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def ask(state: State, do: str) -> Iterator[dict[str, Any]]:
    """What the supervisor of `state` answers; nothing when none runs.

    Raises:
        AerodromeError: it answers with an error.
    """
    connection = _connect(state)
    if connection is None:
        return
    with connection, connection.makefile("rwb") as stream:
        stream.write(json.dumps({"do": do}).encode() + b"\n")
        stream.flush()
        with contextlib.suppress(ConnectionError):
            for line in stream:
                event: dict[str, Any] = json.loads(line)
                if event.get("event") == "error" and do == "apply":
                    raise error_of(event)
                yield event


def status(state: State) -> dict[str, Any] | None:
    """The supervisor's own view; None when none runs."""
    return next((event for event in ask(state, "status") if event.get("event") == "done"), None)


def error_of(event: dict[str, Any]) -> AerodromeError:
    """The error that an event carries."""
    error = AerodromeError(str(event.get("what")), str(event.get("remedy", "")))
    error.exit_code = int(event.get("code", 1))  # type: ignore[misc]
    return error


def _connect(state: State) -> socket.socket | None:
    path = state.control
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as short:
            connection.connect(short)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    return connection
