"""What an archive can do to the machine that unpacks it: make files, folders and inner links, and nothing else."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from aerodrome.airflow.archive import BadArchive, Content, unpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def packed(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=format, pax_headers={"comment": "a" * 40}) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return io.BytesIO(zstd.compress(tar.getvalue()))


def tree(root: Path) -> dict[str, object]:
    return {
        path.relative_to(root).as_posix(): path.readlink().as_posix() if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def to(tmp_path: Path) -> Path:
    folder = tmp_path / "to"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_what_was_packed_is_unpacked(to: Path, format: int) -> None:
    long = "/".join(["a-folder-with-a-long-name"] * 12) + "/file.sql"
    content = unpack(
        packed(
            folder("dags"),
            member("dags/a.py", b"import x\n"),
            member("dags/empty.py"),
            member("run.sh", b"#!/bin/sh\n", mode=0o755),
            member(long, os.urandom(3_000_000)),
            member("lib/größe 数.txt", b"1"),
            member("exactly-one-block", b"x" * 512),
            folder("empty"),
            link("dags/shared", "../lib"),
            link("dags/absent", "not/there"),
            link("here", "."),
            format=format,
        ),
        to,
    )
    found = tree(to)
    assert found["dags/a.py"] == b"import x\n"
    assert found["dags/empty.py"] == b""
    assert len(found[long]) == 3_000_000  # type: ignore[arg-type]
    assert found["lib/größe 数.txt"] == b"1"
    assert found["dags/shared"] == "../lib"
    assert found["dags/absent"] == "not/there"
    assert (to / "empty").is_dir()
    assert content == Content(9, 9 + 10 + 3_000_000 + 1 + 512)
    assert (to / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (to / "dags/a.py").stat().st_mode & stat.S_IXUSR


def test_set_user_id_and_owners_are_forgotten(to: Path) -> None:
    unpack(packed(member("a", b"1", mode=0o6777, uid=12345, gid=12345)), to)
    found = (to / "a").stat()
    assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID)
    assert found.st_uid == os.getuid()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([member("/etc/x")], "no name inside"),
        ([member("../x")], "no name inside"),
        ([member("a/../../x")], "no name inside"),
        ([member("a//x")], "no name inside"),
        ([member("a/./x")], "no name inside"),
        ([folder("../x")], "no name inside"),
        ([folder("a/../..")], "no name inside"),
        ([link("a", "/etc/passwd")], "leads out"),
        ([link("a", "../x")], "leads out"),
        ([link("a/b", "../../x")], "leads out"),
        ([link("a", "")], "link to nothing"),
        ([member("a", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "neither file"),
        ([member("a"), member("b", type=tarfile.LNKTYPE, linkname="a")], "neither file"),
        ([member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "neither file"),
        ([member("a", type=tarfile.BLKTYPE)], "neither file"),
        ([member("a", type=tarfile.FIFOTYPE)], "neither file"),
        ([member("a", b"1"), member("a", b"2")], "twice"),
        ([member("a", b"1"), member("a/b", b"2")], "a file and a folder"),
        ([member("a/b", b"1"), member("a", b"2")], "twice"),
        ([member("a", b"1"), link("a", "b")], "twice"),
        ([folder("a"), link("a", "b")], "twice"),
        # the classic: a link, then a file through it; links are made last, so that there is a folder in its way
        ([link("a", "/tmp"), member("a/escaped", b"1")], "twice"),
        # inside by its letters, outside by another link: root/x -> ., x/x/.. is the root's parent
        ([folder("d/e"), link("d/e/up", "../.."), link("out", "d/e/up/..")], "leads out"),
        ([link("loop", "loop/..")], None),
    ],
)
def test_what_a_snapshot_can_not_hold_is_refused(
    to: Path, members: list[tuple[tarfile.TarInfo, bytes]], says: str | None
) -> None:
    beside = to.parent / "beside"
    beside.write_text("unharmed")
    if says is None:
        unpack(packed(*members), to)
    else:
        with pytest.raises(BadArchive, match=says):
            unpack(packed(*members), to)
    assert sorted(path.name for path in to.parent.iterdir()) == ["beside", "to"]
    assert beside.read_text() == "unharmed"
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize("at", [0, 1, 10, 100, 1000, -200, -20, -1])
def test_a_cut_archive_is_refused(to: Path, at: int) -> None:
    whole = packed(member("a", os.urandom(2000))).getvalue()
    with pytest.raises(BadArchive):
        unpack(io.BytesIO(whole[:at]), to)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"not a tar at all" * 100, os.urandom(5000)])
def test_what_is_no_tar_is_refused(to: Path, data: bytes) -> None:
    with pytest.raises(BadArchive):
        unpack(io.BytesIO(zstd.compress(data)), to)
    with pytest.raises(BadArchive):
        unpack(io.BytesIO(data), to)


def test_damaged_headers_are_refused_or_harmless(to: Path) -> None:
    """Every byte of a header changed in turn: never an exception of another kind, never a file elsewhere."""
    tar = zstd.decompress(packed(member("dags/a.py", b"1"), format=tarfile.GNU_FORMAT).getvalue())
    for place in range(512):
        for value in (0, 0x2F, 0x39, 0xFF):
            damaged = tar[:place] + bytes([value]) + tar[place + 1 :]
            under = to / f"{place}-{value}"
            under.mkdir()
            try:
                unpack(io.BytesIO(zstd.compress(damaged, 1)), under)
            except BadArchive:
                continue
    assert sorted(path.name for path in to.parent.iterdir()) == ["to"]
    assert all(path.name[0].isdigit() for path in to.iterdir())
