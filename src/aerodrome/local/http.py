"""The few HTTP requests that a single-threaded supervisor makes to its own api-server on loopback."""

from __future__ import annotations

import asyncio
import datetime

from aerodrome.local.ports import LOOPBACK


async def get(port: int, path: str, *, timeout: float = 2.0) -> bytes | None:
    """The body of ``GET path``; None for anything but an answer with status 200 in time (seconds)."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return body if status == [b"200"] else None


def timestamp(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time.

    Raises:
        ValueError: it is none.
    """
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
