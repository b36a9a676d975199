"""A service that speaks as much of S3 as the store uses, on loopback, and fails in the ways that services fail.

Compare-and-swap on a real one is tested with AERODROME_TEST_STORE.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest


class Service(ThreadingHTTPServer):
    """One bucket. ``failure`` is what every request gets instead of an answer."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.failure: tuple[int, str] | str | None = None
        self.requests: list[str] = []

    @property
    def options(self) -> dict[str, str]:
        return {
            "endpoint": f"http://127.0.0.1:{self.server_port}",
            "access_key_id": "user",
            "secret_access_key": "hunter2secret",
            "region": "eu-west-1",
            "allow_http": "true",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _fails(self) -> bool:
        self.server.requests.append(f"{self.command} {self.path}")
        failure = self.server.failure
        if failure is None:
            return False
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if failure == "hang":
            time.sleep(3)
            self.close_connection = True
        elif failure == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        else:
            status, code = failure  # type: ignore[misc]
            self._answer(status, f"<Error><Code>{code}</Code><Message>said the service</Message></Error>".encode())
        return True

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bucket").lstrip("/")

    def do_GET(self) -> None:
        if self._fails():
            return
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{_tag(data)}</ETag></Contents>"
                for key, data in sorted(self.server.objects.items())
                if key.startswith(prefix)
            )
            self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())
            return
        data = self.server.objects.get(self._key)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif self.headers.get("If-None-Match") == _tag(data):
            self._answer(304, ETag=_tag(data))
        else:
            self._answer(200, data, ETag=_tag(data))

    do_HEAD = do_GET  # noqa: N815 - the base class's names

    def do_PUT(self) -> None:
        if self._fails():
            return
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            there = self.server.objects.get(self._key)
            wanted = self.headers.get("If-Match")
            if (self.headers.get("If-None-Match") == "*" and there is not None) or (
                wanted is not None and (there is None or _tag(there) != wanted)
            ):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.server.objects[self._key] = data
        self._answer(200, ETag=_tag(data))

    def do_POST(self) -> None:  # only deletion of several objects
        if self._fails():
            return
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = [part.split("</Key>")[0] for part in body.split("<Key>")[1:]]
        for key in keys:
            self.server.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def do_DELETE(self) -> None:
        if self._fails():
            return
        self.server.objects.pop(self._key, None)
        self._answer(204)

    def log_message(self, *_: object) -> None:
        pass


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
