"""Real servers beside the cluster, at an address that pods reach: S3 (versitygw), Git over HTTPS and over SSH."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

TOKEN = "token-of-the-tests"
S3_KEY, S3_SECRET = "test-access-key", "test-secret-key-of-the-tests"
BUCKET = "airflow"


class S3:
    """An S3 server with users and policies of theirs (IAM); ``url`` is its endpoint."""

    def __init__(self, program: Path, folder: Path, address: str) -> None:
        (folder / "buckets" / BUCKET).mkdir(parents=True)
        (folder / "iam").mkdir()
        self._log = (folder / "s3.log").open("ab")
        users = f"{address}:{free_port(address)}"
        self._iam = f"http://{users}"
        # one is found by the other by a socket, whose path has to be short
        self._folder = tempfile.TemporaryDirectory(prefix="s3-")
        private = f"{self._folder.name}/iam"
        self._processes = [self._start(program, users, "iam", "--dir", str(folder / "iam"), "--private-ports", private)]
        wait_for_port(*users.split(":"))
        port = free_port(address)
        self.url = f"http://{address}:{port}"
        options = ("--iam-standalone-endpoint", private, "posix", str(folder / "buckets"))
        self._processes.append(self._start(program, f"{address}:{port}", *options))
        wait_for_port(address, port)

    def _start(self, program: Path, address: str, *arguments: str) -> subprocess.Popen[bytes]:
        argv = [str(program), "--access", S3_KEY, "--secret", S3_SECRET, "--port", address, "--quiet", *arguments]
        return subprocess.Popen(argv, stdout=self._log, stderr=self._log)

    def user(self, name: str, policy: str) -> dict[str, str]:
        """Make a user who may do what `policy` says. Returns the keys, ``id`` and ``secret``."""
        self._call("CreateUser", UserName=name)
        self._call("PutUserPolicy", UserName=name, PolicyName="store", PolicyDocument=policy)
        key = self._call("CreateAccessKey", UserName=name)
        return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}

    def _call(self, action: str, **arguments: str) -> dict[str, str]:
        """Call IAM's API. Returns the answer's elements."""
        words = {"Action": action, "Version": "2010-05-08", **arguments}
        data = [part for name, value in words.items() for part in ("--data-urlencode", f"{name}={value}")]
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*",
             "--aws-sigv4", "aws:amz:us-east-1:iam", "--user", f"{S3_KEY}:{S3_SECRET}", *data, f"{self._iam}/"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{action}: {done.stdout}{done.stderr}"
        return {
            element.tag.rpartition("}")[2]: element.text or "" for element in ElementTree.fromstring(done.stdout).iter()
        }

    def close(self) -> None:
        """End it."""
        for process in self._processes:
            end(process)
        self._log.close()
        self._folder.cleanup()


class GitOverHttps:
    """``git http-backend`` behind TLS and a token; :attr:`ca` is the certificate to trust, in PEM."""

    def __init__(self, repositories: Path, folder: Path, address: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / "git.crt", folder / "git.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=git", "-addext", f"subjectAltName=IP:{address}", "-out", certificate, "-keyout", key],
            check=True, capture_output=True,
        )  # fmt: skip
        self.ca = certificate.read_text()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _answer(self, repositories)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"https://{address}:{self._server.server_port}"

    @property
    def url_with_token(self) -> str:
        """For a client that takes its token nowhere else."""
        return self.url.replace("https://", f"https://x-access-token:{TOKEN}@")

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(request: BaseHTTPRequestHandler, repositories: Path) -> None:
    wanted = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    if request.headers.get("Authorization") != f"Basic {wanted}":
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="git"')
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    path, _, query = request.path.partition("?")
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_PROJECT_ROOT": str(repositories),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REMOTE_ADDR": request.client_address[0],
    }
    done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
    status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
    request.send_response(status)
    for name, value in headers:
        if name != "Status":
            request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


class GitOverSsh:
    """OpenSSH with a key of its own; :attr:`client_key` opens it, :attr:`known_hosts` names it."""

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
        (folder / "authorized").write_text((folder / "client.pub").read_text())
        (folder / "authorized").chmod(0o600)
        port = free_port(address)
        (folder / "sshd_config").write_text(
            f"ListenAddress {address}:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        program = shutil.which("sshd", path="/usr/sbin:/sbin:" + os.environ["PATH"])
        assert program, "there is no sshd"
        self._process = subprocess.Popen(
            [program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
        )
        wait_for_port(address, port)
        self.client_key = (folder / "client").read_text()
        host = " ".join((folder / "host.pub").read_text().split()[:2])
        self.known_hosts = f"[{address}]:{port} {host}\n"
        self.url = f"ssh://root@{address}:{port}"

    def close(self) -> None:
        """End it."""
        end(self._process)


def free_port(address: str) -> int:
    """A port of `address` that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(address: str, port: int | str, seconds: float = 15) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((address, int(port)), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and wait for it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Repository:
    """A bare repository with one branch, ``main``; commits are made from files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(path))

    def commit(self, files: Mapping[str, str]) -> str:
        """Replace all files. Returns the commit."""
        index = str(self.path / "test-index")
        Path(index).unlink(missing_ok=True)
        for name, text in files.items():
            blob = self._git("hash-object", "-w", "--stdin", stdin=text)
            self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", index=index)
        tree = self._git("write-tree", index=index)
        parents = ["-p", "main"] if (self.path / "refs/heads/main").exists() else []
        author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        commit = self._git(*author, "commit-tree", tree, *parents, "-m", "A change")
        self._git("update-ref", "refs/heads/main", commit)
        return commit

    def _git(self, *arguments: str, stdin: str = "", index: str | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        environment |= {"GIT_DIR": str(self.path)} if arguments[0] != "init" else {}
        environment |= {"GIT_INDEX_FILE": index} if index else {}
        done = subprocess.run(
            ["git", *arguments], input=stdin, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()
