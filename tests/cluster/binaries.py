"""The programs of the test cluster: built once from Go modules, kept in a cache outside the checkout."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COREDNS = "github.com/coredns/coredns@v1.14.7"
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

# program -> Debian package
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "socat": "socat",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "openssl": "openssl",
    "sshd": "openssh-server",
    "git": "git",
    "curl": "curl",
}
_CNI = Path("/usr/lib/cni/ptp")


class Impossible(Exception):
    """The cluster can not be started on this machine; the text says what is missing and what to do."""


def say(text: str) -> None:
    """Progress, past pytest's capture: a cold build takes ten minutes, and nobody waits ten minutes in the dark."""
    print(f"cluster: {text}", file=sys.__stderr__, flush=True)


def cache() -> Path:
    """The folder of everything worth keeping between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aerodrome"


def require() -> None:
    """Install what Debian has packages for.

    Raises:
        Impossible: this is no Linux, or not root, or there is neither a package nor a program.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Impossible("starting a cluster takes Linux and root; or set KUBECONFIG to a cluster of your own")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {package for program, package in PACKAGES.items() if not shutil.which(program, path=path)}
    if not _CNI.exists():
        missing.add("containernetworking-plugins")
    if missing:
        if not shutil.which("apt-get"):
            raise Impossible(f"these programs are missing, install them: {', '.join(sorted(missing))}")
        say(f"installing {', '.join(sorted(missing))}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *sorted(missing)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def built() -> Path:
    """Folder that holds every program: Kubernetes' (one binary, several names), coredns, versitygw, pause."""
    sources = [HERE / "go" / "kubernetes" / name for name in ("go.mod", "go.sum", "main.go")]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources))
    digest.update(f"{COREDNS} {VERSITYGW}".encode())
    folder = cache() / "bin" / digest.hexdigest()[:16]
    if not (folder / "complete").exists():
        if not shutil.which("go"):
            raise Impossible("Go 1.26 or later is needed to build the programs of the tests; install it")
        folder.mkdir(parents=True, exist_ok=True)
        say("building Kubernetes, CoreDNS and an S3 server (once; about 15 minutes, one with Go's caches warm)")
        _go(["build", "-trimpath", "-o", str(folder / "hyperkube"), "."], HERE / "go" / "kubernetes", folder)
        _go(["install", "-trimpath", COREDNS], HERE, folder)
        _go(["install", "-trimpath", VERSITYGW], HERE, folder)
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
            "etcd",
        ):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to("hyperkube")
        (folder / "complete").touch()
    return folder


def _go(arguments: list[str], cwd: Path, folder: Path) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder), "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    if arguments[0] == "build":
        environment["GOFLAGS"] = "-mod=readonly"
    done = subprocess.run(["go", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"go {arguments[0]} failed:\n{done.stderr[-3000:]}")
