"""What a triggerer and the process of its triggers tell each other about the team's snapshot."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Iterable
from pathlib import Path


class Notes:
    """What the triggerer and the process of its triggers tell each other: two files in a folder of their own.

    Each has one writer and appears by a rename, so that a reader never sees half of one.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder / "root"
        self._imported = folder / "imported"

    def set_root(self, root: Path) -> None:
        """Triggers are to be imported from the snapshot at `root`."""
        _write(self._root, str(root))

    def root(self) -> Path | None:
        """Where triggers are to be imported from; None while nothing is live."""
        try:
            return Path(self._root.read_text())
        except FileNotFoundError:
            return None

    def set_imported(self, files: Iterable[str]) -> None:
        """These files, relative to the root, have been imported."""
        _write(self._imported, json.dumps(sorted(files)))

    def imported(self) -> list[str]:
        """What has been imported, as the process says that runs the team's code."""
        try:
            return [str(file) for file in json.loads(self._imported.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def begin(self) -> None:
        """A new process has imported nothing."""
        self._imported.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(text)
    aside.rename(path)


def differs(files: Iterable[str], before: Path, after: Path) -> bool:
    """Whether one of `files`, relative names, is not the same in the folders `before` and `after`."""
    for file in files:
        try:
            if not filecmp.cmp(before / file, after / file, shallow=False):
                return True
        except OSError:
            return True
    return False
