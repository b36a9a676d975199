"""A Kubernetes of several nodes on one machine, without Docker.

Each node is a network namespace with a containerd, a kubelet and a kube-proxy of its own; the control plane lives in
the first node. Everything is below one state folder, every process has its id in a file there: :meth:`Cluster.down`
ends exactly those, also after a run that was killed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import tarfile
import textwrap
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from binaries import HERE, say

BRIDGE = "10.77.0.1"
"""The machine's own address as pods see it: where the tests' servers listen."""
_CONTROL = "10.77.0.11"
_SERVICES = "10.96.0.0/16"


def shell(*argv: str, quiet: bool = False, **options: object) -> str:
    """Run a command; its output. Raises :class:`subprocess.CalledProcessError` unless `quiet`."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode and not quiet:
        raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr or done.stdout}")
    return str(done.stdout)


def wait(what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
    """Look ten times a second until `ready`. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


def unmount(folder: Path) -> None:
    """Undo every mount below `folder`."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        shell("umount", "-l", mount, quiet=True)


class Cluster:
    """The cluster of this machine.

    Args:
        binaries: folder with Kubernetes and coredns.
        state: folder for everything; made and removed.
        nodes: how many.
    """

    def __init__(self, binaries: Path, state: Path, nodes: int = 2) -> None:
        self.binaries = binaries
        self.state = state
        self.nodes = [f"node{number + 1}" for number in range(nodes)]
        self.kubeconfig = state / "admin.kubeconfig"
        self.bridge = BRIDGE
        self._running: list[subprocess.Popen[bytes]] = []

    # --- for tests ---

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; its output."""
        program = str(self.binaries / "kubectl")
        return shell(program, "--kubeconfig", str(self.kubeconfig), *argv, input=stdin)

    def load(self, archive: Path) -> None:
        """Give an image archive to every node that has not had it."""
        mark = self.state / f"{archive.stem}.loaded"
        if mark.exists():
            return
        say(f"loading {archive.stem}")
        loads = [
            subprocess.Popen(
                [*self.ctr(node), "images", "import", str(archive)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            for node in self.nodes
        ]
        for load in loads:
            output, _ = load.communicate()
            if load.returncode:
                raise RuntimeError(f"import of {archive.name}: {output.decode()[-1000:]}")
        mark.touch()

    def cut(self, node: str) -> None:
        """Take a node off the network; its pods go on running."""
        shell("ip", "-n", node, "link", "set", "eth0", "down")

    def mend(self, node: str) -> None:
        """Bring a node back that was cut off."""
        number = self.nodes.index(node) + 1
        shell("ip", "-n", node, "link", "set", "eth0", "up")
        shell("ip", "-n", node, "route", "replace", "default", "via", BRIDGE)
        for other in range(1, len(self.nodes) + 1):
            if other != number:
                shell("ip", "-n", node, "route", "replace", f"10.78.{other}.0/24", "via", f"10.77.0.{10 + other}")

    # --- up ---

    def up(self) -> None:
        """Start everything; returns when all nodes and DNS are ready (about 15 s)."""
        self.down()
        started = time.monotonic()
        (self.state / "log").mkdir(parents=True)
        (self.state / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        self._certificates()
        self._network()
        self._control_plane()
        for number, node in enumerate(self.nodes, 1):
            self._node(number, node)
        wait("nodes ready", lambda: self._ready() == len(self.nodes), 120)
        self._dns()
        (self.state / "complete").touch()
        say(f"{len(self.nodes)} nodes ready after {time.monotonic() - started:.0f} s")

    def take_up(self) -> bool:
        """Go on with the cluster that an earlier run has left. Returns whether there is one that works."""
        return (self.state / "complete").exists() and self._answers() and self._ready() == len(self.nodes)

    def leave(self) -> None:
        """Let it run on when this process ends."""
        for process in self._running:
            process.returncode = 0  # nobody waits for it any more

    def _ready(self) -> int:
        with contextlib.suppress(RuntimeError):
            return self.kubectl("get", "nodes", "--no-headers").count(" Ready")
        return 0

    def _certificates(self) -> None:
        pki = self.state / "pki"
        pki.mkdir()
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl = functools.partial(shell, "openssl", cwd=pki)
        # Python 3.13 is strict: a CA says what its key is for, and each certificate names the key that signed it.
        signs = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        ca = ["-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=test-ca", *signs]
        openssl("req", *ca)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
        openssl("ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        service = "kubernetes.default.svc"
        hosts = ["kubernetes", "kubernetes.default", service, f"{service}.cluster.local", "localhost"]
        names = [*(f"DNS:{host}" for host in hosts), *(f"IP:{ip}" for ip in ("127.0.0.1", "10.96.0.1", _CONTROL))]
        wanted = [
            ("apiserver", "/CN=kube-apiserver", ",".join(names)),
            ("admin", "/O=system:masters/CN=admin", "DNS:admin"),
            ("kcm", "/CN=system:kube-controller-manager", "DNS:kcm"),
            ("sched", "/CN=system:kube-scheduler", "DNS:sched"),
            ("proxy", "/CN=system:kube-proxy", "DNS:proxy"),
        ]
        for number, node in enumerate(self.nodes, 1):
            wanted.append((node, f"/O=system:nodes/CN=system:node:{node}", f"DNS:{node},IP:10.77.0.{10 + number}"))
        for name, subject, alternatives in wanted:
            (pki / f"{name}.ext").write_text(
                f"subjectAltName={alternatives}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            )
            openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
            signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext"]
            openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.crt")
            if name != "apiserver":
                self._kubeconfig(name)

    def _kubeconfig(self, name: str) -> None:
        pki = self.state / "pki"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {"server": f"https://{_CONTROL}:6443", "certificate-authority": str(pki / "ca.crt")},
                }
            ],
            "users": [
                {
                    "name": "u",
                    "user": {"client-certificate": str(pki / f"{name}.crt"), "client-key": str(pki / f"{name}.key")},
                }
            ],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (self.state / f"{name}.kubeconfig").write_text(json.dumps(content))

    def _network(self) -> None:
        shell("ip", "link", "add", "ktest0", "type", "bridge")
        shell("ip", "addr", "replace", f"{BRIDGE}/24", "dev", "ktest0")
        shell("ip", "link", "set", "ktest0", "up")
        shell("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, node in enumerate(self.nodes, 1):
            address = f"10.77.0.{10 + number}"
            shell("ip", "netns", "add", node)
            shell("ip", "link", "add", f"k{node}", "type", "veth", "peer", "name", "eth0", "netns", node)
            shell("ip", "link", "set", f"k{node}", "master", "ktest0", "up")
            inside = functools.partial(shell, "ip", "-n", node)
            inside("link", "set", "lo", "up")
            inside("addr", "add", f"{address}/24", "dev", "eth0")
            inside("link", "set", "eth0", "up")
            inside("route", "add", "default", "via", BRIDGE)
            shell("nsenter", f"--net=/run/netns/{node}", "sysctl", "-qw", "net.ipv4.ip_forward=1")
            shell("ip", "route", "replace", f"10.78.{number}.0/24", "via", address)
            for other in range(1, len(self.nodes) + 1):
                if other != number:
                    inside("route", "add", f"10.78.{other}.0/24", "via", f"10.77.0.{10 + other}")
        shell("ip", "route", "replace", _SERVICES, "via", _CONTROL)

    def _run(self, node: str, name: str, *argv: str) -> None:
        """Start a process in a node's network; not by `ip netns exec`, whose fresh /sys lacks the cgroups."""
        with (self.state / "log" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{node}", *argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        (self.state / f"{name}.pid").write_text(str(process.pid))

    def _control_plane(self) -> None:
        pki, bins, first = self.state / "pki", self.binaries, self.nodes[0]
        self._run(first, "etcd", str(bins / "etcd"), str(self.state / "etcd"))
        probe = ["nsenter", f"--net=/run/netns/{first}", "bash", "-c", "echo >/dev/tcp/127.0.0.1/2379"]
        wait("etcd", lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0)
        self._run(
            first, "apiserver", str(bins / "kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443", "--bind-address=0.0.0.0",
            f"--advertise-address={_CONTROL}", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key", f"--client-ca-file={pki}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            f"--service-cluster-ip-range={_SERVICES}", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key", f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true",
        )  # fmt: skip
        wait("apiserver", self._answers, 90)
        self._run(
            first, "kcm", str(bins / "kube-controller-manager"), f"--kubeconfig={self.state}/kcm.kubeconfig",
            f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt",
            "--use-service-account-credentials=true", "--leader-elect=false",
            f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
            "--node-monitor-grace-period=20s",
        )  # fmt: skip
        self._run(
            first,
            "sched",
            str(bins / "kube-scheduler"),
            f"--kubeconfig={self.state}/sched.kubeconfig",
            "--leader-elect=false",
        )

    def _answers(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return "ok" in self.kubectl("get", "--raw", "/readyz")
        return False

    def _node(self, number: int, node: str) -> None:
        home, pki, bins = self.state / node, self.state / "pki", self.binaries
        for folder in ("containerd", "run", "cni", "kubelet"):
            (home / folder).mkdir(parents=True)
        _cgroups(node)
        (home / "cni" / "10-ptp.conflist").write_text(json.dumps(_cni(number, home)))
        (home / "containerd.toml").write_text(_containerd(home))
        (home / "kubelet.json").write_text(json.dumps(_kubelet(node, home, pki, self.state)))
        self._run(node, f"{node}-containerd", "containerd", "--config", str(home / "containerd.toml"))
        wait("containerd", (home / "containerd.sock").exists)
        for name, program in (("pause", "pause"), ("coredns", "coredns")):
            self.load_on(node, image(f"localhost/{name}:1", self._program(program), self.state / f"{name}.tar"))
        self._run(
            node, f"{node}-kubelet", str(bins / "kubelet"), f"--config={home}/kubelet.json",
            f"--kubeconfig={self.state}/{node}.kubeconfig", f"--hostname-override={node}",
            f"--node-ip=10.77.0.{10 + number}", f"--root-dir={home}/kubelet", f"--cert-dir={home}/certs",
        )  # fmt: skip
        self._run(
            node, f"{node}-proxy", str(bins / "kube-proxy"), f"--kubeconfig={self.state}/proxy.kubeconfig",
            f"--hostname-override={node}", "--cluster-cidr=10.78.0.0/16", "--proxy-mode=nftables",
            "--conntrack-max-per-core=0",
        )  # fmt: skip

    def _program(self, name: str) -> Path:
        if name == "coredns":
            return self.binaries / "coredns"
        program = self.binaries / "pause"
        if not program.exists():
            shell(
                "go",
                "build",
                "-trimpath",
                "-o",
                str(program),
                str(HERE / "go" / "pause" / "main.go"),
                env={**os.environ, "CGO_ENABLED": "0"},
            )
        return program

    def load_on(self, node: str, archive: Path) -> None:
        """Give an image archive to one node."""
        wait(
            "containerd",
            lambda: subprocess.run([*self.ctr(node), "version"], capture_output=True, check=False).returncode == 0,
        )
        shell(*self.ctr(node), "images", "import", str(archive))

    def ctr(self, node: str) -> Sequence[str]:
        """The command line of containerd's client on a node."""
        return ("ctr", "-a", str(self.state / node / "containerd.sock"), "-n", "k8s.io")

    def _dns(self) -> None:
        self.kubectl("apply", "-f", str(HERE / "dns.yaml"))
        self.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")

    # --- down ---

    def down(self) -> None:
        """End everything that :meth:`up` started, in this run or in one that was killed."""
        if not self.state.exists():
            return
        self._end("kubelet", "proxy")
        for node in self.nodes:
            if (self.state / node / "containerd.sock").exists():
                self._end_containers(node)
        self._end("")
        unmount(self.state)
        for node in self.nodes:
            shell("ip", "netns", "del", node, quiet=True)
            shell("ip", "link", "del", f"k{node}", quiet=True)
        shell("ip", "link", "del", "ktest0", quiet=True)
        for line in shell("ip", "netns", "list").splitlines():
            if line.startswith("cni-"):  # of pods that were killed without their network's DEL
                shell("ip", "netns", "del", line.split()[0], quiet=True)
        for root in Path("/sys/fs/cgroup").glob("*/ktest"):
            for folder in [*sorted((p for p in root.rglob("*") if p.is_dir()), reverse=True), root]:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        shell("rm", "-rf", str(self.state))

    def _end_containers(self, node: str) -> None:
        ctr = functools.partial(shell, *self.ctr(node), quiet=True, timeout=30)
        with contextlib.suppress(subprocess.TimeoutExpired):
            for task in ctr("tasks", "ls", "-q").split():
                ctr("tasks", "kill", "-s", "KILL", task)
            for task in ctr("tasks", "ls", "-q").split():
                ctr("tasks", "rm", "-f", task)

    def _end(self, *suffixes: str) -> None:
        """End the processes whose name ends so: politely, then after a second by force (an API server with open
        watches lingers for a minute)."""
        files = [f for f in self.state.glob("*.pid") if any(f.stem.endswith(s) for s in suffixes)]
        pids = [int(f.read_text()) for f in files if _ours(int(f.read_text()), self.state, self.binaries)]
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            with contextlib.suppress(TimeoutError):
                wait("end of processes", lambda: not any(_alive(pid) for pid in pids), 2)
        for file in files:
            file.unlink()
        for process in self._running:
            process.poll()  # it has been waited for above; its object is to know


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return Path(f"/proc/{pid}").exists()


def _ours(pid: int, state: Path, binaries: Path) -> bool:
    """Whether a process id from a file is still that process: ids are given again after a reboot."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return str(state) in line or str(binaries) in line


def image(name: str, program: Path, archive: Path) -> Path:
    """A container image of one static program, as an archive that containerd imports."""
    if archive.exists():
        return archive
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(program.resolve(), arcname=program.name)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer.getvalue()).hexdigest()}"]},
            "history": [],
        }
    ).encode()
    config_name = f"{sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, mode="w") as out:
        for member, data in (("layer.tar", layer.getvalue()), (config_name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return archive


def _cgroups(node: str) -> None:
    """A cgroup of its own for each kubelet, in every controller: two kubelets delete each other's pods otherwise."""
    for controller in Path("/sys/fs/cgroup").iterdir():
        if not controller.is_dir() or controller.name == "unified" or not (controller / "tasks").exists():
            continue
        folder = controller / "ktest" / node
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (controller / name).exists():
                value = (controller / name).read_text()
                (folder.parent / name).write_text(value)
                (folder / name).write_text(value)


def _cni(number: int, home: Path) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": str(home / "ipam"),
        "ranges": [[{"subnet": f"10.78.{number}.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "ptp",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _containerd(home: Path) -> str:
    return textwrap.dedent(f"""\
        version = 2
        root = "{home}/containerd"
        state = "{home}/run"
        [grpc]
          address = "{home}/containerd.sock"
        [plugins."io.containerd.grpc.v1.cri"]
          restrict_oom_score_adj = true
          sandbox_image = "localhost/pause:1"
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "/usr/lib/cni"
            conf_dir = "{home}/cni"
        """)


def _kubelet(node: str, home: Path, pki: Path, state: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/ktest/{node}",
        "cgroupsPerQOS": True,
        "failSwapOn": False,
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{home}/containerd.sock",
        "tlsCertFile": str(pki / f"{node}.crt"),
        "tlsPrivateKeyFile": str(pki / f"{node}.key"),
        "volumePluginDir": str(home / "volumeplugins"),
        "podLogsDir": str(home / "pod-logs"),
        "registryPullQPS": 0,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": str(state / "resolv.conf"),
        "maxPods": 200,
    }
