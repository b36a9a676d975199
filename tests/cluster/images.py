"""The platform's images, built as users build them: a Debian base, then images/Containerfile by buildah."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

from binaries import Impossible, cache, say
from machine import shell, unmount

ROOT = Path(__file__).parents[2]
PLATFORM = os.environ.get("AERODROME_TEST_IMAGE", "localhost/aerodrome:test")
SYNC = f"{PLATFORM}-sync"
_BASE = "localhost/aerodrome-base:trixie"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def archives() -> list[Path]:
    """Archives of the images, for containerd; built again only when something that goes into them has changed."""
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    mark = _digest()
    wanted = {
        "platform": (PLATFORM, folder / f"platform-{mark}.tar"),
        "sync": (SYNC, folder / f"sync-{mark}.tar"),
    }
    if all(archive.exists() for _, archive in wanted.values()):
        return [archive for _, archive in wanted.values()]
    for old in folder.glob("*-*.tar"):
        old.unlink()
    _base()
    for target, (name, archive) in wanted.items():
        say(f"building {name}")
        _build(name, ROOT / "images" / "Containerfile", archive, "--target", target, "--build-arg", f"BASE={_BASE}")
    return [archive for _, archive in wanted.values()]


def _build(name: str, file: Path, archive: Path, *options: str) -> None:
    _buildah(
        *("build", "--quiet", "--isolation", "chroot", "--layers", "--network", "host", "--file", str(file)),
        *("--tag", name, "--ignorefile", str(ROOT / ".containerignore"), *options, *_own_certificates(), str(ROOT)),
    )
    aside = archive.with_suffix(".new")
    aside.unlink(missing_ok=True)
    _buildah("push", "--quiet", name, f"docker-archive:{aside}:{name}")
    aside.rename(archive)
    unmount(cache() / "buildah")


def another(cluster: Any) -> str:
    """A newer version of the platform's images, on all nodes: the same content by another name. Returns the name.

    With a cluster of ``KUBECONFIG`` it is to be there, as the images themselves are.
    """
    name = f"{PLATFORM}-next"
    for node in getattr(cluster, "nodes", ()):
        for old, new in ((PLATFORM, name), (SYNC, f"{name}-sync")):
            shell(*cluster.ctr(node), "images", "tag", "--force", old, new)
    return name


def with_git(tag: str) -> Path:
    """Archive of the platform's image with git and Airflow's Git provider: what the stock way needs, for the bench."""
    archives()
    archive = cache() / "images" / f"stock-{_digest()}.tar"
    if not archive.exists():
        say(f"building {tag}")
        file = cache() / "images" / "stock.Containerfile"
        file.write_text(
            f"FROM {PLATFORM}\nUSER 0\n"
            "RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends git"
            " && python -m pip install --quiet apache-airflow-providers-git==1.0.1\nUSER 50000\n"
        )
        _build(tag, file, archive)
    return archive


def _digest() -> str:
    """What stands for everything that goes into the images."""
    found = hashlib.sha256()
    files = [ROOT / name for name in ("pyproject.toml", "constraints.txt", "README.md", "images/Containerfile")]
    files += sorted(path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for file in files:
        found.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _base() -> None:
    """A small Debian with Python, in place of the public Python image, which needs a registry."""
    if _BASE in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    say("building a Debian base (once; about a minute)")
    tree = cache() / "images" / "base.tar"
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates",
         "--customize-hook=rm -f $1/etc/resolv.conf", "trixie", str(tree)],
        capture_output=True, text=True, check=False, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
    )  # fmt: skip
    if done.returncode:
        raise Impossible(f"mmdebstrap failed: {done.stderr[-2000:]}")
    container = _buildah("from", "scratch").strip()
    _buildah("add", "--quiet", container, str(tree), "/")
    _buildah("commit", "--quiet", "--rm", container, _BASE)
    tree.unlink()


def _own_certificates() -> list[str]:
    """A machine behind a proxy has certificates of its own; they are lent for the build, and stay out of the image."""
    if not _CERTIFICATES.exists():
        return []
    uv = cache() / "images" / "uv.toml"
    uv.write_text("system-certs = true\n")
    return [f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro", f"--volume={uv}:/etc/uv/uv.toml:ro"]


def _buildah(*arguments: str) -> str:
    storage = cache() / "buildah"
    (storage / "tmp").mkdir(parents=True, exist_ok=True)
    configuration = storage / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n'
    )
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration), "TMPDIR": str(storage / "tmp")}
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise Impossible(f"buildah {arguments[0]} failed:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    return done.stdout
