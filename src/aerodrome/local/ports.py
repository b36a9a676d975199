"""Ports on loopback: the usual one, else a free one, and the same one the next time."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

from aerodrome.local.state import write_private

LOOPBACK = "127.0.0.1"


class Ports:
    """The ports of one installation, remembered in a file.

    Args:
        path: the file, JSON, name of a port to its number; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError, ValueError, AttributeError, TypeError):
            self._known = {str(name): int(port) for name, port in json.loads(path.read_text()).items()}

    def known(self, name: str) -> int | None:
        """The port last chosen for `name`."""
        return self._known.get(name)

    def choose(self, name: str, usual: int | None = None, *, udp: bool = False) -> int:
        """A port that is free now: the one chosen before, else `usual`, else any.

        Raises:
            OSError: this machine has no loopback address.
        """
        wished = [port for port in (self._known.get(name), usual) if port is not None]
        taken = {port for other, port in self._known.items() if other != name}
        for port in wished:
            if port not in taken and is_free(port, udp=udp):
                break
        else:
            port = _any(taken, udp=udp)
        if self._known.get(name) != port:
            self._known[name] = port
            write_private(self._path, json.dumps(self._known, indent=2) + "\n")
        return port

    def forget(self, name: str) -> None:
        """`name` needs its port no more."""
        if self._known.pop(name, None) is not None:
            write_private(self._path, json.dumps(self._known, indent=2) + "\n")


def is_free(port: int, *, udp: bool = False) -> bool:
    """Whether `port` can be bound on loopback right now."""
    try:
        _bind(port, udp=udp).close()
    except OSError:
        return False
    return True


def _any(taken: set[int], *, udp: bool) -> int:
    while True:
        bound = _bind(0, udp=udp)
        port = int(bound.getsockname()[1])
        bound.close()
        if port not in taken:
            return port


def _bind(port: int, *, udp: bool) -> socket.socket:
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    bound = socket.socket(socket.AF_INET, kind)
    try:
        if not udp:
            # as servers do: a port whose last connections are in TIME_WAIT is free
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
