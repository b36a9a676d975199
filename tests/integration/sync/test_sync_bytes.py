"""Same id, same bytes: whatever the machine, its umask, locale, time and Git configuration, or the repository's."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FILES = {
    "dags/a.py": "print('$Format:%H$')\r\nx = 1  # $Id$\n",
    "dags/ä.py": "# ä\n",
    "dags/Z.py": "",
    "secret.txt": "left out by nobody\n",
    ".gitattributes": "* text eol=crlf ident export-subst\nsecret.txt export-ignore\n*.py filter=evil\n",
    "run": ("100755", "#!/bin/sh\n"),
    "link.py": ("120000", "dags/a.py"),
    "a" * 120 + "/" + "b" * 150 + ".py": "long",
}


def test_the_same_bytes_everywhere(platform: Any, repository: Any, tmp_path: Path) -> None:
    repository.commit(FILES)
    platform.team("alpha", repository.path)
    assert platform.sync() == 0
    first = platform.archive("alpha")
    shutil.rmtree(platform.state)

    # A machine that does all it can: other time zone, locale, umask, and a Git configuration full of traps.
    home = tmp_path / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    trap = f"touch {home}/sprung"
    for hook in ("post-checkout", "reference-transaction", "post-merge", "fsmonitor"):
        (hooks / hook).write_text(f"#!/bin/sh\n{trap}\n")
        (hooks / hook).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\n\tautocrlf = true\n\thooksPath = {hooks}\n\tattributesFile = {home}/attributes\n"
        f"\tfsmonitor = {hooks}/fsmonitor\n\tpager = {trap}\n\tsshCommand = {trap}\n\taskPass = {trap}\n"
        f'[filter "evil"]\n\tsmudge = {trap}\n\tclean = {trap}\n\trequired = true\n'
        f'[url "file:///nowhere/"]\n\tinsteadOf = file:///\n[tar]\n\tumask = user\n'
        f'[init]\n\ttemplateDir = {home}\n[credential]\n\thelper = "!{trap}"\n[protocol]\n\tallow = never\n'
    )
    env = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home / ".gitconfig"),
        "GIT_DIR": str(home),
        "GIT_ASKPASS": str(hooks / "fsmonitor"),
        "GIT_SSH_COMMAND": trap,
        "GIT_CONFIG_PARAMETERS": "'core.hooksPath'='/tmp'",
        "GIT_TEMPLATE_DIR": str(home),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(home),
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Asia/Kathmandu",
    }
    old = os.umask(0o077)
    try:
        process = platform.start("--once", env=env)
    finally:
        os.umask(old)
    assert process.wait(30) == 0, platform.log.read_text()
    assert platform.archive("alpha") == first
    assert not (home / "sprung").exists()

    files = platform.files("alpha")
    assert files["dags/a.py"] == b"print('$Format:%H$')\r\nx = 1  # $Id$\n"
    assert files["secret.txt"] == b"left out by nobody\n"
    assert files["link.py"] == b"-> dags/a.py"


def test_what_is_in_the_archive(platform: Any, repository: Any, tmp_path: Path) -> None:
    repository.commit(FILES)
    platform.team("alpha", repository.path)
    platform.sync()
    raw = platform.archive("alpha")
    with tarfile.open(fileobj=io.BytesIO(zstd.decompress(raw))) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted((member.name for member in members), key=str.encode)
    assert {member.mtime for member in members} == {315532800}
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert {member.name: member.mode for member in members if member.isfile()}.items() >= {
        "run": 0o755,
        "dags/a.py": 0o644,
    }.items()
    (tmp_path / "archive.tar.zst").write_bytes(raw)
    out = tmp_path / "out"
    out.mkdir()
    if shutil.which("zstd"):  # other people's tools read it, too
        subprocess.run(["tar", "--zstd", "-xf", tmp_path / "archive.tar.zst", "-C", out], check=True)
        assert (out / "dags/ä.py").read_text() == "# ä\n"


def test_an_empty_commit_is_an_empty_archive(platform: Any, repository: Any) -> None:
    repository.tree([])
    platform.team("alpha", repository.path)
    assert platform.sync() == 0
    assert platform.files("alpha") == {}
