"""The errors a user can meet. Each says in one line what is wrong and in one line what to do.

::

    AerodromeError            the answer is no (exit code 1)
    ├── Temporary             the same call may succeed later: retry with back-off
    └── UsageError            wrong usage or configuration (exit code 2)
        └── ConfigError       every mistake of aerodrome.yaml at once

Anything else that reaches the command line is a defect of Aerodrome and shows its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class AerodromeError(Exception):
    """A failure that the user can act on.

    Args:
        what: one line, what is wrong (with path and line, team and commit where they are known).
        remedy: one line, what to do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}" if self.remedy else self.what


class Temporary(AerodromeError):
    """Trying again may help; nothing was lost."""


class UsageError(AerodromeError):
    """Wrong usage or configuration."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Mistake:
    """One mistake of a configuration file: ``line`` counts from 1; ``where`` is the path of keys, dotted."""

    line: int
    where: str
    what: str
    remedy: str = ""


class ConfigError(UsageError):
    """Every mistake of one configuration file."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        lines = [
            f"{path}:{m.line}: {m.where + ': ' if m.where else ''}{m.what}{' (' + m.remedy + ')' if m.remedy else ''}"
            for m in self.mistakes
        ]
        plural = "mistake" if len(lines) == 1 else "mistakes"
        super().__init__("\n".join(lines), f"Mend the {len(lines)} {plural} above and run the command again.")
