"""Which names and links a snapshot may hold: what means the same on every disk, and stays inside. Pure."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterable, Mapping

from aerodrome.sync.failures import SnapshotRefused, names_for_people

_LONGEST_NAME = 255
_LONGEST_PATH = 4000
_MOST_LINKS = 40
"""Links that a path may lead through: Linux's own limit (ELOOP, path_resolution(7))."""

# Code points that HFS+ ignores in a name (git's utf8.c, next_hfs_char): ".g\u200cit" is ".git" there.
_IGNORED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF],
)


def fault(name: bytes) -> str | None:
    """What forbids `name` as the name of one file or folder; None when nothing does."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    if not text:
        return "is empty"
    if "/" in text:
        return "is absolute or holds a slash"
    if text in (".", ".."):
        return f"holds {text!r}"
    if "\0" in text:
        return "holds NUL"
    if "\\" in text:
        return "holds a backslash"
    if len(name) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    # As git's verify_path with core.protectHFS and core.protectNTFS: a folder that some disk takes for .git.
    plain = text.translate(_IGNORED).partition(":")[0].rstrip(". ").casefold()
    if plain in (".git", "git~1"):
        return "is .git, or becomes .git on some disks"
    return None


def check_names(names: Mapping[bytes, bytes]) -> None:
    """Refuse faulty names. `names`: name of a file or folder to a folder that it stands in (with ``/`` at its end).

    Raises:
        SnapshotRefused: naming the paths.
    """
    bad = {name: why for name in names if (why := fault(name))}
    if bad:
        shown = {f"{_show(names[name])}{_show(name)} ({why})" for name, why in bad.items()}
        raise SnapshotRefused(
            f"Names that a snapshot can not hold: {names_for_people(shown)}.",
            "Rename them in the repository, or leave their folder out with the team's `paths`.",
        )


def check_paths(paths: Iterable[str]) -> None:
    """Refuse paths of files that are too long, stand twice, or are one on a disk that ignores case or composes letters.

    Raises:
        SnapshotRefused: naming the paths.
    """
    seen: dict[str, str] = {}
    clashes: set[str] = set()
    folders: set[str] = set()
    files: set[str] = set()
    for path in paths:
        if path in files or path in folders:
            clashes.add(f"{path} and {path}")
        files.add(path)
        if len(path) > _LONGEST_PATH:
            shown = _show(path[:60].encode(errors="surrogateescape"))
            raise SnapshotRefused(
                f"The path {shown}... has {len(path):,} letters; at most {_LONGEST_PATH:,} are allowed.",
                "Use shorter names, or fewer folders in folders.",
            )
        part = path
        while part:
            other = seen.setdefault(unicodedata.normalize("NFC", part).casefold(), part)
            if other != part:
                clashes.add(f"{other} and {part}")
            part = part.rpartition("/")[0]
            if part in folders:
                break
            if part in files:
                clashes.add(f"{part} and {part}/")
            folders.add(part)
    if clashes:
        raise SnapshotRefused(
            f"Paths that are one and the same, or become so on a disk that ignores case: {names_for_people(clashes)}.",
            "Rename one of each in the repository.",
        )


def check_links(links: Mapping[str, str]) -> None:
    """Refuse symlinks that lead out of the snapshot, also by way of another link, or in a circle.

    A link to a path that the snapshot does not have is kept as it is.

    Args:
        links: path to target, of every symlink in the snapshot.

    Raises:
        SnapshotRefused: naming the links.
    """
    bad = {path for path, target in links.items() if not _stays_inside(path, target, links)}
    if bad:
        shown = {f"{path} -> {links[path]}" for path in bad}
        raise SnapshotRefused(
            f"Symlinks that lead out of the snapshot or in a circle: {names_for_people(shown)}.",
            "Let them lead to files inside the repository (and inside the team's `paths`), or remove them.",
        )


def _stays_inside(path: str, target: str, links: Mapping[str, str]) -> bool:
    """Walk as the kernel does: each step from where the last one really led."""
    here = path.split("/")[:-1]
    steps: deque[str] = deque()
    found: str | None = target
    followed = 0
    while True:
        if found is not None:
            followed += 1
            if followed > _MOST_LINKS or not found or found.startswith("/") or "\0" in found:
                return False
            steps.extendleft(reversed(found.split("/")))
        if not steps:
            return True
        step = steps.popleft()
        found = None
        if step == "..":
            if not here:
                return False
            here.pop()
        elif step not in ("", "."):
            found = links.get("/".join([*here, step]))
            if found is None:
                here.append(step)


def _show(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
