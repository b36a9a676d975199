from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from aerodrome.cli import run


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def aerodrome(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs the command line in this process."""

    def call(*arguments: str) -> Said:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call
