"""Real repositories, and real servers for them that can misbehave: smart HTTP (git's own backend) and OpenSSH."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from aerodrome.config.installation import Installation
from aerodrome.store import Head, Store, TeamStore
from aerodrome.sync.service import Sync

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}


def git(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> str:
    """Run git for a test's own purposes."""
    done = subprocess.run(["git", *map(str, arguments)], input=stdin, env=ENV, cwd=cwd, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


class Repository:
    """A bare repository that commits are made in, without a work tree."""

    def __init__(self, path: Path, branch: str = "main", object_format: str = "sha1") -> None:
        self.path = path
        self.branch = branch
        git("init", "-q", "--bare", f"--initial-branch={branch}", f"--object-format={object_format}", path)
        self.git("config", "http.receivepack", "false")
        self.git("config", "uploadpack.allowFilter", "true")
        self._clock = 1_700_000_000

    def git(self, *arguments: str | Path, stdin: bytes = b"") -> str:
        return git("--git-dir", self.path, *arguments, stdin=stdin)

    def commit(
        self,
        files: Mapping[str, str | bytes | tuple[str, str | bytes] | None],
        *,
        branch: str | None = None,
        orphan: bool = False,
        message: str = "a change",
    ) -> str:
        """Commit `files` (path to content, to (mode, content or commit), or to None: deleted); the commit's id."""
        ref = f"refs/heads/{branch or self.branch}"
        self._clock += 60
        out = io.BytesIO()
        old = subprocess.run(["git", "--git-dir", self.path, "rev-parse", "-q", "--verify", ref], capture_output=True)
        if orphan:
            out.write(f"reset {ref}\n".encode())
        text = message.encode()
        out.write(f"commit {ref}\nmark :1\nauthor Ada Lovelace <ada@example.com> {self._clock} +0100\n".encode())
        out.write(f"committer Bob <bob@example.com> {self._clock} +0100\ndata {len(text)}\n".encode() + text + b"\n")
        if not orphan and old.returncode == 0:
            out.write(b"from %s\n" % old.stdout.strip())
        for path, content in files.items():
            mode, body = content if isinstance(content, tuple) else ("100644", content)
            name = json.dumps(path, ensure_ascii=False).encode()
            if body is None:
                out.write(b"D %s\n" % name)
            elif mode == "160000":
                out.write(b"M 160000 %s %s\n" % (body.encode() if isinstance(body, str) else body, name))
            else:
                data = body.encode() if isinstance(body, str) else body
                out.write(b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), name, len(data), data))
        out.write(b"get-mark :1\ndone\n")
        return self.git("fast-import", "--quiet", "--force", "--done", stdin=out.getvalue())

    def tree(self, entries: list[tuple[str, bytes, str]], *, branch: str | None = None) -> str:
        """Commit a tree that git itself would not make: (mode, name, object id)."""
        data = b"".join(b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(id)) for mode, name, id in entries)
        tree = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)
        author = "Ada <ada@example.com> 1700000000 +0000"
        body = f"tree {tree}\nauthor {author}\ncommitter {author}\n\ncrafted\n".encode()
        commit = self.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=body)
        self.git("update-ref", f"refs/heads/{branch or self.branch}", commit)
        return commit

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)


class GitServer:
    """Smart HTTP over `git http-backend`, for all repositories under a folder; it can misbehave.

    Attributes:
        users: name to password; None lets everybody in.
        status: answer every request with this status.
        hang: paths that hold one of these words get no answer until :meth:`release`.
        cut: answers to POST end after so many bytes, with the connection.
        old: speak protocol version 0 only, as servers do that refuse commits by id.
        redirect: prefix of the URL that every request is sent on to.
        pages: answers of its own, by path: a function from the request's body and headers to status and body.
    """

    def __init__(self, root: Path, certificate: Path | None = None) -> None:
        self.root = root
        self.users: dict[str, str] | None = None
        self.status: int | None = None
        self.hang: set[str] = set()
        self.cut: int | None = None
        self.old = False
        self.redirect: str | None = None
        self.pages: dict[str, Callable[[bytes, Any], tuple[int, bytes]]] = {}
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.hanging = threading.Event()
        self._released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    outer._answer(self)

            do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, repository: Repository | str) -> str:
        path = repository if isinstance(repository, str) else repository.path.relative_to(self.root)
        return f"{self.scheme}://127.0.0.1:{self.port}/{path}"

    def release(self) -> None:
        self.hang.clear()
        self._released.set()
        self._released = threading.Event()
        self.hanging.clear()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        body = self._body(request)
        self.requests.append(f"{request.command} {request.path}")
        if any(word in request.path for word in self.hang):
            self.hanging.set()
            self._released.wait(60)
            request.close_connection = True
        elif self.status is not None:
            self._send(request, self.status, [], b"no\n")
        elif self.redirect is not None:
            self._send(request, 301, [("Location", self.redirect + request.path)], b"")
        elif path in self.pages:
            status, answer = self.pages[path](body, request.headers)
            self._send(request, status, [("Content-Type", "application/json")], answer)
        else:
            self._git(request, path, query, body)

    def _git(self, request: http.server.BaseHTTPRequestHandler, path: str, query: str, body: bytes) -> None:
        authorization = request.headers.get("Authorization", "")
        if authorization:
            self.authorizations.append(authorization)
        if self.users is not None:
            known = {
                "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
                for user, password in self.users.items()
            }
            if authorization not in known:
                self._send(request, 401, [("WWW-Authenticate", 'Basic realm="test"')], b"")
                return
        env = {
            **ENV,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": "" if self.old else request.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n") if line]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self._send(request, status, [(name, value) for name, value in headers if name != "Status"], answer)

    def _body(self, request: http.server.BaseHTTPRequestHandler) -> bytes:
        if request.headers.get("Transfer-Encoding") != "chunked":
            return request.rfile.read(int(request.headers.get("Content-Length") or 0))
        body = b""
        while size := int(request.rfile.readline(), 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return body

    def _send(
        self, request: http.server.BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.cut is not None and request.command == "POST" and len(body) > self.cut:
            request.wfile.write(body[: self.cut])
            request.close_connection = True
            return
        request.wfile.write(body)


class SshServer:
    """OpenSSH's own server, as the user who runs the test, with a key of its own."""

    def __init__(self, sshd: str, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "client", "stranger"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True
            )
        shutil.copy(folder / "client.pub", folder / "authorized")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile none\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"UsePAM no\nAcceptEnv GIT_PROTOCOL\nMaxStartups 100\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=self._log)
        self.known_hosts = f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}"
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            assert self._process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def url(self, repository: Repository) -> str:
        import getpass

        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository.path}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


def _sshd(cache: Path) -> str:
    """The server's program: the machine's, else from Debian's package, unpacked aside where it can not be installed."""
    found = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if found:
        return found
    if os.getuid() == 0:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], env=env, capture_output=True)
        subprocess.run(["apt-get", "install", "-yq", "openssh-server"], env=env, check=True, capture_output=True)
        return "/usr/sbin/sshd"
    subprocess.run(["apt-get", "download", "openssh-server"], cwd=cache, check=True, capture_output=True)
    for package in cache.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, cache], check=True)
    return str(cache / "usr/sbin/sshd")


class Platform:
    """An installation in a folder, whose sync is run by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {"sync": {"poll": "1s"}, "teams": []}
        self.state = folder / "state"

    def team(self, name: str, repo: str | Path, **settings: object) -> TeamStore:
        """Add a team (or replace it), and give its part of the store."""
        self.config["teams"] = [team for team in self.config["teams"] if team["name"] != name]
        self.config["teams"].append({"name": name, "repo": str(repo), **settings})
        return self.store.team(name)

    @property
    def file(self) -> Path:
        path = self.folder / "aerodrome.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return path

    @property
    def installation(self) -> Installation:
        return Installation.open(self.file, self.state)

    @property
    def store(self) -> Store:
        return Store((self.state / "store").as_uri())

    def sync(self, pokes: Mapping[str, tuple[str, int]] | None = None) -> int:
        """One pass in this process."""
        return Sync(self.installation, pokes).run(once=True)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """The service as a process of its own; its log goes to `log`."""
        program = (
            "import sys\n"
            "from aerodrome.config.installation import Installation\n"
            "from aerodrome.sync.service import run\n"
            "pokes = [argument.split(',') for argument in sys.argv[3:] if ',' in argument]\n"
            "pokes = {team: (host, int(port)) for team, host, port in pokes}\n"
            "sys.exit(run(Installation.open(sys.argv[1], sys.argv[2]), '--once' in sys.argv, pokes))\n"
        )
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", program, str(self.file), str(self.state), *arguments],
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    @property
    def log(self) -> Path:
        return self.folder / "sync.log"

    def files(self, team: str, snapshot: str | None = None) -> dict[str, bytes]:
        """The files of the team's head; a symlink's content is ``-> target``."""
        store = self.store.team(team)
        head = store.head()
        raw = io.BytesIO()
        store.download(snapshot or (head.snapshot if head else "") or "", raw)
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(zstd.decompress(raw.getvalue()))) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                found[member.name] = content.read() if content else f"-> {member.linkname}".encode()
        return found

    def archive(self, team: str) -> bytes:
        raw = io.BytesIO()
        store = self.store.team(team)
        head = store.head()
        assert head and head.snapshot
        store.download(head.snapshot, raw)
        return raw.getvalue()


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What `condition` returns as soon as it is true; for what another process does and says by its result only."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    folder = tmp_path / "platform"
    folder.mkdir()
    return Platform(folder)


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    folder = tmp_path / "repositories"
    folder.mkdir()
    return folder


@pytest.fixture
def new_repository(repositories: Path) -> Callable[..., Repository]:
    def make(name: str = "dags.git", **options: str) -> Repository:
        return Repository(repositories / name, **options)

    return make


@pytest.fixture
def repository(new_repository: Callable[..., Repository]) -> Repository:
    return new_repository()


@pytest.fixture
def server(repositories: Path) -> Iterator[GitServer]:
    server = GitServer(repositories)
    yield server
    server.close()


@pytest.fixture
def other_server(repositories: Path) -> Iterator[GitServer]:
    server = GitServer(repositories)
    yield server
    server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's key and certificate for 127.0.0.1 in one file, signed by itself, hence its own authority too."""
    folder = tmp_path_factory.mktemp("tls")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    command += " -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:true"
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(["openssl", *command.split(), *files], check=True, capture_output=True)
    both = folder / "both"
    both.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return both


@pytest.fixture
def tls_server(repositories: Path, certificate: Path) -> Iterator[GitServer]:
    server = GitServer(repositories, certificate)
    yield server
    server.close()


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    server = SshServer(_sshd(tmp_path_factory.mktemp("sshd-program")), tmp_path_factory.mktemp("sshd"))
    yield server
    server.close()


@pytest.fixture(params=["open connection", "git"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How an HTTP server is asked for its refs: where the machine has a proxy, it is always by git."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "git":
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "*")
    return str(request.param)


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def head_of(platform: Platform) -> Callable[[str], Head]:
    def read(team: str) -> Head:
        head = platform.store.team(team).head()
        assert head is not None
        return head

    return read
