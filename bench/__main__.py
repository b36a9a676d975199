"""``make bench``: measures the rows that are asked for, shows them as a table, and keeps them as JSON."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.place import Place, medium
from bench.result import Result

ROWS = ("worker", "publish", "sync", "processor", "visible")
ON_REQUEST = ("cluster",)
"""Takes a Kubernetes, or Linux and root to start one: only when it is named."""
RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("apache-airflow", "apache-airflow-providers-git", "aerodrome", "obstore")


@click.command(help=__doc__)
@click.argument("rows", nargs=-1, type=click.Choice([*ROWS, *ON_REQUEST]))
@click.option("--disk", type=click.Path(path_type=Path), help="Folder on a disk to work in (default: a temporary one).")
@click.option("--keep", is_flag=True, help="Keep the folder of the run.")
def main(rows: tuple[str, ...], disk: Path | None, keep: bool) -> None:
    """Measure and show."""
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="aerodrome-bench-", dir=disk or "/var/tmp"))  # /tmp may be in memory
    folder.chmod(0o711)  # PostgreSQL runs as another user when this is root
    shared = Path("/dev/shm")
    memory = Path(tempfile.mkdtemp(prefix="aerodrome-bench-", dir=shared)) if shared.is_dir() else None
    begun = datetime.now(UTC)
    results: dict[str, list[Result]] = {}
    failed: dict[str, str] = {}
    try:
        with console.status("starting") as status:
            for row in rows or ROWS:
                started = time.monotonic()
                place = Place(folder, memory, lambda text, row=row: status.update(f"{row}: {text}"))  # type: ignore[misc]
                results[row] = []
                try:
                    for result in importlib.import_module(f"bench.{row}").run(place):
                        results[row].append(result)
                except Exception as error:
                    console.print_exception()
                    failed[row] = str(error)
                console.print(f"{row}: {time.monotonic() - started:.0f} s", style="dim")
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            console.print(f"kept: {folder}")
        if memory:
            shutil.rmtree(memory, ignore_errors=True)
    shown = Console()
    Console(width=shown.width if shown.is_terminal else 120).print(_table(results))
    path = _write(begun, results, failed, medium(folder.parent))
    console.print(f"written: {path}")
    missed = [result.work for found in results.values() for result in found if result.ok is False]
    for row, error in failed.items():
        console.print(f"{row} failed: {error.splitlines()[0] if error else 'without a word'}", style="red")
    sys.exit(1 if missed or failed else 0)


def _table(results: dict[str, list[Result]]) -> Table:
    table = Table(title="Aerodrome beside the stock tools, same machine, same run")
    table.add_column("work", overflow="fold", ratio=4)
    for name in ("ours", "stock", "stock / ours"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("must reach", ratio=2)
    table.add_column("")
    for found in results.values():
        for result in found:
            verdict = {True: "[green]ok[/]", False: "[red]missed[/]", None: ""}[result.ok]
            ratio = f"{result.ratio:.1f}x" if result.ratio is not None else ""
            note = f"\n[dim]{result.note}[/]" if result.note else ""
            table.add_row(
                result.work + note,
                _figure(result.ours, result.unit),
                _figure(result.stock, result.unit),
                ratio,
                result.must,
                verdict,
            )
    return table


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f} {unit}"


def _write(begun: datetime, results: dict[str, list[Result]], failed: dict[str, str], disk: str) -> Path:
    content = {
        "begun": begun.isoformat(timespec="seconds"),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": len(os.sched_getaffinity(0)),
            "disk": disk,
            "git": subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.split()[2],
        },
        "packages": {name: version(name) for name in _PACKAGES},
        "results": {
            row: [{**asdict(result), "ratio": result.ratio} for result in found] for row, found in results.items()
        },
        "failed": failed,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(content, indent=2) + "\n"
    path = RESULTS / f"{begun:%Y%m%dT%H%M%SZ}.json"
    path.write_text(text)
    (RESULTS / "latest.json").write_text(text)
    return path


if __name__ == "__main__":
    main()
