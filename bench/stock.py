"""Airflow's own dag-processor with a GitDagBundle, every setting at its default."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.database import Database
from bench.place import BIN, basic_environment, program

BUNDLE = "stock"


@contextlib.contextmanager
def dag_processor(folder: Path, database: Database, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """One that follows the repository at `url`; its log is ``stock.log`` in `folder`."""
    bundles = [
        {
            "name": BUNDLE,
            "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
            "kwargs": {"repo_url": url, "tracking_ref": "main"},
        }
    ]
    env = {
        **basic_environment(folder / "home"),
        **database.variables,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW_CONN_GIT_DEFAULT": "git://",
    }
    with program([str(BIN / "airflow"), "dag-processor"], env, folder / "stock.log") as child:
        yield child


def version(database: Database) -> str | None:
    """The version that it is at."""
    found: str | None = database.value("SELECT version FROM dag_bundle WHERE name = %s", BUNDLE)
    return found
