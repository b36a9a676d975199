"""Tables and times for people."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines; where stdout is no terminal, nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    made = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, show_edge=False)
    for name in header:
        made.add_column(name, overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        made.add_row(*(text.replace("[", r"\[") for text in row))
    if console.is_terminal:
        console.print(made)
    else:
        Console(highlight=False, width=10_000).print(made)


def when(time: datetime.datetime) -> str:
    """`time` in this machine's zone, to the second."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(time: datetime.datetime) -> str:
    """How long ago `time` was, in one unit."""
    seconds = (datetime.datetime.now(datetime.UTC) - time).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def size(number: float) -> str:
    """Bytes, in MB."""
    return f"{number / 1e6:.0f} MB"
