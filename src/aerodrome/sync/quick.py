"""The question "what is this ref at?" over a connection that stays open, for the poll that finds nothing new.

`git ls-remote` over HTTPS is three processes, and each time a list of authorities and a handshake: 45 ms of CPU. With
200 repositories that is what sync would spend its time on. Git's protocol version 2 makes the question one small POST
(gitprotocol-v2(5), "ls-refs"; gitprotocol-http(5)), so it is asked here, and only in the plain case: whatever else
comes back (a redirect, another status, an older protocol, a broken connection) is no answer, and git itself is asked,
which also says what is wrong. Everything that is fetched is fetched by git.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from aerodrome.names import COMMIT
from aerodrome.sync.git import PROXIES, ca_bundle
from aerodrome.sync.remote import Remote

_TIMEOUT = 10.0
_LARGEST = 1 << 20
_AFTER_NO_ANSWER = 60.0
_AFTER_NONSENSE = 3600.0
"""Seconds before a server is asked in this way again: one that refused, and one that did not understand."""
_contexts: dict[str, ssl.SSLContext] = {}


class QuickLook:
    """One repository's connection. Not for concurrent use.

    Args:
        remote: the repository; anything but http and https is left to git.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._parts = urlsplit(remote.url)
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        plain = remote.scheme in ("http", "https") and remote.url.isascii() and " " not in remote.url
        self._not_before = 0.0 if plain else float("inf")

    async def refs(self, prefixes: Iterable[str], login: str | None, ca: str | None) -> Mapping[str, str] | None:
        """The refs that begin with one of `prefixes`, as ``git ls-remote --symref`` says them: name to object id.

        ``NAME^{}`` is what a tag leads to; ``HEAD`` may have a companion ``symref HEAD``, the branch that it names.

        Args:
            login: ``user:password``, sent to this origin only.
            ca: authorities in PEM, instead of the machine's.

        Returns:
            None when there is no plain answer: ask git.
        """
        if time.monotonic() < self._not_before or any(os.environ.get(name) for name in PROXIES):
            return None
        request = self._request(prefixes, login)
        # A connection that was idle may have been closed by the server: then once more, with a new one.
        for _ in range(2 if self._stream else 1):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return dict(_parse(await self._exchange(request, ca)))
            except (_NoAnswer, TimeoutError):
                self._leave_it(_AFTER_NO_ANSWER)
                break
            except (OSError, EOFError):
                self.close()
            except ValueError:
                self._leave_it(_AFTER_NONSENSE)
                break
        return None

    def _leave_it(self, seconds: float) -> None:
        self.close()
        self._not_before = time.monotonic() + seconds

    def close(self) -> None:
        """Close the connection; the next question opens one."""
        if self._stream is not None:
            self._stream[1].transport.abort()
            self._stream = None

    async def _exchange(self, request: bytes, ca: str | None) -> bytes:
        if self._stream is None:
            context = _context(ca) if self._remote.scheme == "https" else None
            host, port = self._parts.hostname or "", self._parts.port
            port = port or (443 if context else 80)
            self._stream = await asyncio.open_connection(host, port, ssl=context, limit=1 << 16)
        reader, writer = self._stream
        writer.write(request)
        await writer.drain()
        status = await reader.readline()
        if not status:
            raise EOFError
        if status.split()[1:2] != [b"200"]:
            raise _NoAnswer
        headers: dict[bytes, bytes] = {}
        while (line := await reader.readline()).strip():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
            if len(headers) > 100:
                raise _NoAnswer
        if headers.get(b"content-type") != b"application/x-git-upload-pack-result":
            raise _NoAnswer
        body = await _body(reader, headers)
        if headers.get(b"connection") == b"close":
            self.close()
        return body

    def _request(self, prefixes: Iterable[str], login: str | None) -> bytes:
        lines = [b"peel\n", b"symrefs\n", *(f"ref-prefix {prefix}\n".encode() for prefix in prefixes)]
        body = _packet(b"command=ls-refs\n") + b"0001" + b"".join(map(_packet, lines)) + b"0000"
        head = [
            f"POST {self._parts.path.rstrip('/')}/git-upload-pack HTTP/1.1",
            f"Host: {self._remote.host}",
            "User-Agent: git/aerodrome",
            "Git-Protocol: version=2",
            "Content-Type: application/x-git-upload-pack-request",
            "Accept: application/x-git-upload-pack-result",
            f"Content-Length: {len(body)}",
        ]
        if login is not None:
            head.append(f"Authorization: Basic {base64.b64encode(login.encode()).decode()}")
        return "\r\n".join([*head, "", ""]).encode() + body


class _NoAnswer(Exception):
    """An answer that only git can make something of: a redirect, a refusal, a page for people."""


def _context(ca: str | None) -> ssl.SSLContext:
    """Contexts are shared: each holds its authorities, which are 1 MB and 20 ms for those of a machine."""
    key = ca or f"file {ca_bundle()}"
    if key not in _contexts:
        bundle = ca_bundle()
        _contexts[key] = (
            ssl.create_default_context(cadata=ca) if ca else ssl.create_default_context(cafile=bundle or None)
        )
    return _contexts[key]


async def _body(reader: asyncio.StreamReader, headers: Mapping[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding") != b"chunked":
        length = int(headers.get(b"content-length", b"-1"))
        if not 0 <= length <= _LARGEST:
            raise _NoAnswer
        return await reader.readexactly(length)
    body = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        if size < 0 or len(body) + size > _LARGEST:
            raise _NoAnswer
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()
    return body


def _packet(data: bytes) -> bytes:
    return b"%04x" % (len(data) + 4) + data


def _parse(answer: bytes) -> Iterator[tuple[str, str]]:
    """The lines of an answer to ``ls-refs``: ``ID NAME[ symref-target:NAME][ peeled:ID]``, then a flush packet.

    Raises:
        ValueError: it is none.
    """
    position = 0
    while True:
        size = int(answer[position : position + 4], 16)
        if size == 0 and position + 4 == len(answer):
            return
        words = answer[position + 4 : position + size].decode().split()
        if size < 4 or len(words) < 2 or not COMMIT.fullmatch(words[0]):
            raise ValueError
        yield words[1], words[0]
        for word in words[2:]:
            what, _, value = word.partition(":")
            if what == "symref-target":
                yield f"symref {words[1]}", value
            elif what == "peeled" and COMMIT.fullmatch(value):
                yield f"{words[1]}^{{}}", value
        position += size
