"""Kubernetes quantities: ``500m``, ``2``, ``64Gi``, ``1e3``. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:e([0-9]{1,2})|([a-zA-Z]{0,2}))")


def number(quantity: str) -> Decimal:
    """The number that `quantity` stands for: cores of a CPU quantity, bytes of a memory quantity.

    Raises:
        ValueError: not a quantity.
    """
    match = _QUANTITY.fullmatch(quantity)
    if match is None or (match[3] or "") not in _SUFFIX:
        raise ValueError(f"not a Kubernetes quantity: {quantity!r}")
    return Decimal(match[1]) * (Decimal(10) ** int(match[2]) if match[2] else _SUFFIX[match[3] or ""])


def mebibytes(size: int) -> str:
    """`size` bytes as a quantity, rounded up to whole ``Mi``."""
    return f"{-(-size // (1 << 20))}Mi"
