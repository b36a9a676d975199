"""A Git server over HTTP on loopback, in a process of its own: ``git http-backend`` behind Python's HTTP server.

Run as a program: ``python -m bench.forge FOLDER``; it prints its port and serves until its stdin closes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve every repository in `folder`; gives the URL that they are under."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.forge", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin and child.stdout
        try:
            yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        finally:
            child.stdin.close()
            child.wait(10)


class _Handler(BaseHTTPRequestHandler):
    folder: str

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_NOSYSTEM": "1",
            # the folders may belong to another user
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROJECT_ROOT": self.folder,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        with subprocess.Popen(
            ["git", "http-backend"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as backend:
            assert backend.stdin and backend.stdout
            threading.Thread(target=_feed, args=(backend, body), daemon=True).start()
            headers = []
            while line := backend.stdout.readline().strip():
                name, _, value = line.decode().partition(":")
                headers.append((name, value.strip()))
            status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
            self.send_response(status)
            for name, value in headers:
                if name != "Status":
                    self.send_header(name, value)
            self.end_headers()
            while chunk := backend.stdout.read1(1 << 16):
                self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _feed(backend: subprocess.Popen[bytes], body: bytes) -> None:
    assert backend.stdin
    with contextlib.suppress(BrokenPipeError):
        backend.stdin.write(body)
        backend.stdin.close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


def main() -> None:
    """Serve the folder named on the command line."""
    _Handler.folder = sys.argv[1]
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
