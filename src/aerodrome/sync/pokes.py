"""Hints to processors that a team's head has changed: a datagram with the team's name. Nothing depends on them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping


class Pokes:
    """Where each team's processor listens.

    Args:
        places: team to host and port (UDP).
    """

    def __init__(self, places: Mapping[str, tuple[str, int]]) -> None:
        self._places = dict(places)

    async def send(self, team: str) -> None:
        """Poke the processor of `team`, if it is known where it is. Never raises and never waits for an answer."""
        place = self._places.get(team)
        if place is None:
            return
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                found = await asyncio.get_running_loop().getaddrinfo(*place, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as sender:
                sender.setblocking(False)
                sender.sendto(team.encode(), address)
