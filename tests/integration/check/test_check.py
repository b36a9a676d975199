"""``aerodrome check`` as a developer runs it before a push."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from aerodrome.local import repository

DAG = """\
from airflow.sdk import dag
{more}
@dag(schedule=None, tags=["a"])
def {name}():
    pass
{name}()
"""


def check(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AERODROME"))}
    return subprocess.run(
        [sys.executable, "-m", "aerodrome", "check", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**clean, **environment}, check=False,
    )  # fmt: skip


def verdict(*arguments: str | Path, **environment: str) -> dict[str, Any]:
    done = check(*arguments, "--json", **environment)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["passed"] else 1)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with one good DAG, committed."""
    folder = tmp_path / "repo"
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "good.py").write_text(DAG.format(name="good", more=""))
    repository.git(folder, "init", "--quiet", "--initial-branch=main")
    repository.commit(folder, "Begin")
    return folder


def test_a_good_repository_passes(folder: Path) -> None:
    before = repository.git(folder, "status", "--porcelain")
    done = check(folder)
    assert done.returncode == 0
    assert done.stdout.startswith("passed: 1 DAGs in 1 DAG files (1 files in all)")
    assert done.stderr == ""
    assert repository.git(folder, "status", "--porcelain") == before


def test_what_is_not_committed_counts_and_what_a_ref_has_not(folder: Path) -> None:
    (folder / "dags" / "bad.py").write_text("import airflow\nimport nowhere_to_be_found  # a dag\n")
    (folder / ".gitignore").write_text("secret.py\n")
    (folder / "dags" / "secret.py").write_text("import airflow, not_there_either  # a dag\n")
    done = check(folder)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "dags/bad.py:2: refused: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert "secret.py" not in done.stdout
    assert check(folder, "--ref", "main").returncode == 0
    assert check(folder.as_uri()).returncode == 0


def test_code_that_misbehaves_is_a_finding_each(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bad = {
        "exits.py": "import os\nos._exit(7)",
        "crashes.py": "import ctypes\nctypes.string_at(0)",
        "hangs.py": "import time\nwhile True: time.sleep(1)",
        "leaves.py": f"import subprocess\nsubprocess.Popen(['sleep', '987654'], env={{'MARK': '{mark}'}})",
        "variable.py": "from airflow.sdk import Variable\nVariable.get('city')",
        "connection.py": "from airflow.sdk import BaseHook\nBaseHook.get_connection('bank')",
        "twice.py": DAG.format(name="good", more=""),
    }
    for name, text in bad.items():
        (folder / "dags" / name).write_text(f"# airflow dag\n{text}\n")
    config = tmp_path / "aerodrome.yaml"
    config.write_text(f"teams: [{{name: alpha, repo: {folder}, dags: dags, gate: {{timeout: 2s}}}}]\n")
    found = verdict(folder, "-c", config, AIRFLOW_CONN_BANK="http://bank")
    kinds = {Path(finding["file"]).name: finding["kind"] for finding in found["findings"]}
    assert kinds.pop("good.py", "duplicate-dag-id") == kinds.pop("twice.py", "duplicate-dag-id") == "duplicate-dag-id"
    assert kinds == {
        "exits.py": "crash",
        "crashes.py": "crash",
        "hangs.py": "timeout",
        "leaves.py": "process-left",
        "variable.py": "missing-variable",
    }
    lines = {Path(finding["file"]).name: finding["line"] for finding in found["findings"]}
    assert (lines["exits.py"], lines["hangs.py"], lines["variable.py"]) == (3, 3, 3)
    assert not [process for process in psutil.process_iter() if "987654" in _argv(process)]
    assert "connection.py" not in str(found["findings"])


def test_wrong_use_is_said_in_two_lines(folder: Path, tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "nowhere",),
        (folder, "--ref", "no-such-branch"),
        (folder, "--team", "alpha"),
        (folder, "-c", tmp_path / "nowhere.yaml"),
    ):
        done = check(*arguments)
        assert done.returncode in (1, 2), done
        assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 2, done.stderr
        assert "Traceback" not in done.stderr


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
