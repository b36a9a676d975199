"""The gate: a pure judgement of what parsing a snapshot brought to light."""

from __future__ import annotations

from aerodrome.gate.findings import FIRM, KINDS
from aerodrome.gate.judge import Judgement, judge
from aerodrome.gate.parsed import Ending, FileError, Parsed, ParsedDag, ParsedFile, Policy, Surroundings

__all__ = [
    "FIRM",
    "KINDS",
    "Ending",
    "FileError",
    "Judgement",
    "Parsed",
    "ParsedDag",
    "ParsedFile",
    "Policy",
    "Surroundings",
    "judge",
]
