"""Ports on loopback: the usual one, else a free one, and the same one the next time."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path

from aerodrome.local.state import write_private

LOOPBACK = "127.0.0.1"


class Ports:
    """The ports of one installation, remembered in a file.

    A chosen port stays claimed until :meth:`close`, or until this process ends: between the choice and the moment in
    which a server listens there, another installation that starts would find it free as well.

    Args:
        path: the file, JSON, name of a port to its number; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, int] = {}
        self._claims: dict[str, socket.socket | None] = {}
        with contextlib.suppress(FileNotFoundError, ValueError, AttributeError, TypeError):
            self._known = {str(name): int(port) for name, port in json.loads(path.read_text()).items()}

    def known(self, name: str) -> int | None:
        """The port last chosen for `name`."""
        return self._known.get(name)

    def choose(self, name: str, usual: int | None = None, *, udp: bool = False) -> int:
        """A port for `name`: the one this object chose already; else one that is free now: the one of last time,
        `usual`, or any.

        Raises:
            OSError: this machine has no loopback address.
        """
        if name in self._claims:
            return self._known[name]
        wished = [port for port in (self._known.get(name), usual) if port is not None]
        taken = {port for other, port in self._known.items() if other != name}
        while True:
            port = wished.pop(0) if wished else _any(udp=udp)
            if port in taken or not is_free(port, udp=udp):
                continue
            with contextlib.suppress(OSError):
                self._claims[name] = _claim(port, udp=udp)
                break
        if self._known.get(name) != port:
            self._known[name] = port
            write_private(self._path, json.dumps(self._known, indent=2) + "\n")
        return port

    def forget(self, name: str) -> None:
        """`name` needs its port no more."""
        self._release(name)
        if self._known.pop(name, None) is not None:
            write_private(self._path, json.dumps(self._known, indent=2) + "\n")

    def close(self) -> None:
        """Claim nothing any more; what was chosen stays remembered."""
        for name in list(self._claims):
            self._release(name)

    def _release(self, name: str) -> None:
        claim = self._claims.pop(name, None)
        if claim is not None:
            claim.close()


def is_free(port: int, *, udp: bool = False) -> bool:
    """Whether `port` can be bound on loopback right now."""
    try:
        _bind(port, udp=udp).close()
    except OSError:
        return False
    return True


def _any(*, udp: bool) -> int:
    with _bind(0, udp=udp) as bound:
        return int(bound.getsockname()[1])


def _claim(port: int, *, udp: bool) -> socket.socket | None:
    """Tell every other installation of this machine that `port` is taken, as long as the returned socket is open.

    A name in Linux' abstract namespace: it belongs to the same network namespace as the port, and the kernel removes
    it with the process, however that ends. Other systems have none, and there nothing is claimed.

    Raises:
        OSError: somebody else has claimed it.
    """
    if sys.platform != "linux":
        return None
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0aerodrome-{'udp' if udp else 'tcp'}-{port}")
    except OSError:
        claim.close()
        raise
    return claim


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
