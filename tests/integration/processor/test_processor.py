"""A processor that runs, over a real database: one process for all these stories, each with snapshots of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kit import Workshop, commit, dag

from aerodrome.store import Verdict

CALLBACK = """
import pathlib
from airflow.sdk import dag, task

def called(context):
    pathlib.Path({file!r}).write_text(context["dag"].dag_id + " " + open(__file__).read().count("#").__str__())

@dag(dag_id="calls", schedule=None, on_success_callback=called)
def made():
    @task
    def one(): ...
    one()
made()
"""
SEND_CALLBACK = """
import sys
from airflow.callbacks.callback_requests import DagCallbackRequest
from airflow.models.db_callback_request import DbCallbackRequest
from airflow.utils.session import create_session
request = DagCallbackRequest(
    filepath="calls.py", bundle_name="payments", bundle_version=sys.argv[1], dag_id="calls", run_id="r",
    is_failure_callback=False, msg="done",
)
with create_session() as session:
    session.add(DbCallbackRequest(callback=request, priority_weight=1))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, airflow_databases: Callable[[], str]) -> Iterator[Workshop]:
    """Team payments with its processor running, beside a team search that has none."""
    shop = Workshop(
        tmp_path_factory.mktemp("shop"), airflow_databases(), teams=("payments", "search"), gate={"timeout": "5s"}
    )
    with shop.start(AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT="8"):
        yield shop


def verdict(shop: Workshop, snapshot: str) -> Verdict:
    return shop.until(lambda: shop.team.verdicts(snapshot), what="verdict")[-1]


def goes_live(shop: Workshop, snapshot: str, *dag_ids: str) -> None:
    shop.until(lambda: shop.live() == dict.fromkeys(dag_ids, snapshot), what=f"live: {dag_ids} at {snapshot}")


def refused(shop: Workshop, snapshot: str) -> dict[str, Any]:
    """File to finding."""
    found = verdict(shop, snapshot)
    assert not found.passed
    return {Path(finding.file or "-").name: finding for finding in found.findings}


def run(shop: Workshop, *arguments: str) -> str:
    """Run ``aerodrome``."""
    done = subprocess.run(
        [sys.executable, "-m", "aerodrome", *arguments, "-c", str(shop.config), "--state", str(shop.state)],
        capture_output=True, text=True, timeout=60, check=False, env=shop.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_refused_push_leaves_what_is_live(shop: Workshop) -> None:
    good = shop.push("good", {"dags/a.py": dag("a"), "dags/b.py": dag("b")})
    goes_live(shop, good, "a", "b")
    bad = shop.push("bad", {"dags/a.py": dag("a") + "\nimport nowhere_to_be_found\n", "dags/b.py": dag("b", "new")})
    finding = refused(shop, bad)["a.py"]
    assert (finding.kind, finding.file) == ("missing-package", "dags/a.py")
    assert finding.line == len(dag("a").splitlines()) + 2
    assert shop.live() == {"a": good, "b": good}
    current = shop.team.current()
    assert current is not None and current.snapshot == good
    mended = shop.push("mended", {"dags/a.py": dag("a"), "dags/b.py": dag("b", "new")})
    goes_live(shop, mended, "a", "b")


def test_what_vanished_is_gone_with_the_same_transaction(shop: Workshop) -> None:
    many = {f"dags/{number}.py": dag(f"many_{number}") for number in range(6)}
    first = shop.push("many", many)
    goes_live(shop, first, *(f"many_{number}" for number in range(6)))
    renamed = shop.push("renamed", {**many, "dags/0.py": dag("renamed")})
    seen = set()
    while (live := shop.live()).get("renamed") != renamed:
        seen.add(tuple(sorted(live.items())))
        time.sleep(0.005)
    assert live == dict.fromkeys(["renamed", *(f"many_{number}" for number in range(1, 6))], renamed)
    assert seen <= {tuple(sorted(dict.fromkeys((f"many_{number}" for number in range(6)), first).items()))}


def test_a_snapshot_without_a_dag_passes_with_a_warning(shop: Workshop) -> None:
    empty = shop.push("empty", {"README.md": "nothing"})
    found = verdict(shop, empty)
    assert found.passed and [(f.kind, f.severity) for f in found.findings] == [("no-dags", "warning")]
    shop.until(lambda: shop.live() == {}, what="no DAG is live")


def test_crashing_code_is_a_finding_and_leaves_no_process(shop: Workshop) -> None:
    before = {process.pid for process in shop.services[-1].tree()}
    bad = {
        "exits.py": "import os\nos._exit(7)",
        "crashes.py": "import ctypes\nctypes.string_at(0)",
        "talks.py": "while True: print('x' * 100000)",
        "eats.py": "x = [bytearray(50_000_000) for _ in range(100)]",
        "deaf.py": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        "flees.py": "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    time.sleep(600)",
    }
    snapshot = shop.push("crash", {f"dags/{name}": f"# airflow dag\n{text}\n" for name, text in bad.items()})
    found = refused(shop, snapshot)
    assert {name: finding.kind for name, finding in found.items()} == {
        "exits.py": "crash",
        "crashes.py": "crash",
        "talks.py": "output",
        "eats.py": "memory",
        "deaf.py": "timeout",
        "flees.py": "process-left",
    }
    shop.until(lambda: {process.pid for process in shop.services[-1].tree()} <= before, what="no process of it is left")


def test_dag_ids_that_are_not_the_teams_own(shop: Workshop) -> None:
    assert not shop.store.claim_dag_ids("search", ["theirs"])
    snapshot = shop.push("foreign", {"dags/a.py": dag("theirs"), "dags/b.py": dag("b"), "dags/c.py": dag("b")})
    found = verdict(shop, snapshot)
    assert {finding.kind for finding in found.findings} == {"foreign-dag-id", "duplicate-dag-id"}
    assert shop.live() == {}
    # what neither current nor an unfinished run has is given up: another team may have it then
    mine = shop.push("mine", {"dags/a.py": dag("mine")})
    goes_live(shop, mine, "mine")
    assert shop.store.dag_id_owners()["mine"] == "payments"


def test_no_dag_is_ever_stored_under_another_snapshot(shop: Workshop) -> None:
    """Pushes while a parse is under way: what is stored was parsed from the snapshot that it is stored under."""
    marks = {}
    for number in range(12):
        mark = f"mark{number}"
        text = dag("slow").replace('tags=["t"]', f'tags=["{mark}"]')
        marks[shop.push(mark, {"dags/slow.py": f"import time\ntime.sleep(0.4)\n{text}"})] = mark
        deadline = time.monotonic() + 0.3 + 0.05 * (number % 5)
        while time.monotonic() < deadline:
            _pairs_are_true(shop, marks)
            time.sleep(0.01)
    last = commit("mark11")
    shop.until(lambda: _pairs_are_true(shop, marks) and shop.live() == {"slow": last}, what="the last one is live")
    stored = shop.rows(
        "SELECT v.bundle_version, s.data FROM dag_version v JOIN serialized_dag s ON s.dag_version_id = v.id"
        " WHERE v.dag_id = 'slow'"
    )
    assert stored
    for version, data in stored:
        assert f'"{marks[version]}"' in json.dumps(data), "of another snapshot"


def _pairs_are_true(shop: Workshop, marks: dict[str, str]) -> bool:
    rows = shop.rows(
        "SELECT d.bundle_version, t.name FROM dag d JOIN dag_tag t USING (dag_id) WHERE d.dag_id = 'slow'"
        " AND NOT d.is_stale"
    )
    for version, tag in rows:
        assert marks[version] == tag
    return True


def test_what_is_missing_outside_of_git_is_judged_again(shop: Workshop) -> None:
    text = (
        dag("asks").replace('tags=["t"]', "tags=[Variable.get('city')]").replace("import dag", "import Variable, dag")
    )
    snapshot = shop.push("asks", {"dags/asks.py": text})
    first = verdict(shop, snapshot)
    assert first.external and [finding.kind for finding in first.findings] == ["missing-variable"]
    shop.rows("INSERT INTO variable (key, val, is_encrypted) VALUES ('city', 'Oslo', false)")
    run(shop, "recheck", "payments")
    goes_live(shop, snapshot, "asks")
    assert shop.rows("SELECT name FROM dag_tag WHERE dag_id = 'asks'") == [("Oslo",)]


def test_rollback_stays_until_resume(shop: Workshop) -> None:
    old = shop.push("old", {"dags/r.py": dag("r", "old")})
    goes_live(shop, old, "r")
    new = shop.push("new", {"dags/r.py": dag("r", "new"), "dags/s.py": dag("s")})
    goes_live(shop, new, "r", "s")
    run(shop, "rollback", "payments", old)
    goes_live(shop, old, "r")
    newer = shop.push("newer", {"dags/r.py": dag("r", "newer")})
    assert verdict(shop, newer).passed
    assert shop.live() == {"r": old}
    run(shop, "resume", "payments")
    goes_live(shop, newer, "r")


def test_between_pushes_nothing_is_parsed_but_on_request(shop: Workshop, tmp_path: Path) -> None:
    count = tmp_path / "count"
    text = f"open({str(count)!r}, 'a').write('x')\n" + dag("counted")
    snapshot = shop.push("counted", {"dags/counted.py": text})
    goes_live(shop, snapshot, "counted")
    processor = psutil.Process(shop.services[-1].process.pid)
    began = processor.cpu_times()
    time.sleep(1.5)  # nothing is what must happen
    used = processor.cpu_times()
    assert count.read_text() == "x"
    assert used.user + used.system - began.user - began.system < 0.3
    shop.rows(
        "INSERT INTO dag_priority_parsing_request (id, bundle_name, relative_fileloc) VALUES ('1', 'payments', 'x.py')"
    )
    shop.until(lambda: count.read_text() == "xx", what="parsed again")


def test_callbacks_run(shop: Workshop, tmp_path: Path) -> None:
    called = tmp_path / "called"
    first = shop.push("calls", {"dags/calls.py": CALLBACK.format(file=str(called)) + "# one\n"})
    goes_live(shop, first, "calls")
    second = shop.push("calls again", {"dags/calls.py": CALLBACK.format(file=str(called)) + "# one\n# two\n"})
    goes_live(shop, second, "calls")
    subprocess.run([sys.executable, "-c", SEND_CALLBACK, first], env=shop.environment, check=True)
    # at the version that was asked for, which is not the one that is live
    shop.until(lambda: called.exists() and called.read_text() == "calls 2", what="the callback ran")
    assert shop.live() == {"calls": second}


def test_a_store_that_can_not_be_read_changes_nothing(shop: Workshop) -> None:
    snapshot = shop.push("before", {"dags/st.py": dag("st")})
    goes_live(shop, snapshot, "st")
    store, away = shop.state / "store", shop.state / "away"
    store.rename(away)
    log = shop.services[-1].log
    shop.until(lambda: "What is live stays live" in log.read_text(), what="a warning")
    assert shop.live() == {"st": snapshot}
    away.rename(store)
    after = shop.push("after", {"dags/st.py": dag("st", "after")})
    goes_live(shop, after, "st")
