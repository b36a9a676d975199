"""Starts :mod:`bench.refresh` and talks to it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.place import basic_environment

Round = Callable[[], dict[str, float]]


@contextlib.contextmanager
def bundles(folder: Path, urls: list[str]) -> Iterator[Round]:
    """GitDagBundles of `urls`, initialized; gives what refreshes all of them once."""
    env = {
        **basic_environment(folder / "home"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles"),
        "AIRFLOW_CONN_GIT_DEFAULT": "git://",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "bench.refresh", *urls],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin
        assert child.stdout

        def answer() -> dict[str, float]:
            assert child.stdout
            for line in child.stdout:  # Airflow logs there, too
                if line.startswith("{"):
                    found: dict[str, float] = json.loads(line)
                    return found
            raise RuntimeError("bench.refresh ended")

        def refresh() -> dict[str, float]:
            assert child.stdin
            child.stdin.write("\n")
            child.stdin.flush()
            return answer()

        try:
            answer()
            yield refresh
        finally:
            child.stdin.close()
            child.wait(30)
