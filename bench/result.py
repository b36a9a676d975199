"""What one line of the table holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """One measured work.

    Args:
        work: what was done.
        ours: Aerodrome's figure, in `unit`.
        stock: the stock tool's figure for the same work.
        unit: ``s``, ``cores``, ``MB``, ``bytes``.
        must: what must be reached, in words.
        ok: whether it was; None when nothing is asked for.
        note: what a reader must know to judge the figures.
        samples: the single measurements.
    """

    work: str
    ours: float | None
    stock: float | None
    unit: str
    must: str
    ok: bool | None
    note: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times the stock figure is ours."""
        if not self.ours or self.stock is None:
            return None
        return self.stock / self.ours


def median(values: Sequence[float]) -> float:
    """The median, rounded to what a timing on a shared machine can say."""
    return round(statistics.median(values), 4)
