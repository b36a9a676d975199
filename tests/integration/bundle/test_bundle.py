"""Snapshots on a machine: unpacked once, whole or not at all, kept while used, cleaned up by Airflow."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

FILES = {f"dags/{number}.py": f"# {number}" * 50 for number in range(20)} | {"teamlib.py": "WHICH = 'payments'"}
KEEP_NONE = {"AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS": "0"}
NAMES = sorted(f"{number}.py" for number in range(20))


@pytest.fixture
def snapshot(machine: Any, request: pytest.FixtureRequest) -> str:
    """A snapshot of the team payments that no other test has."""
    commit = hashlib.sha1(request.node.name.encode()).hexdigest()
    machine.publish("payments", commit, FILES)
    return commit


@pytest.fixture
def versions(machine: Any) -> Path:
    return machine.bundles / "payments/versions"


def aside(machine: Any) -> list[str]:
    folder = machine.bundles / "payments/aside"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def grow_old(machine: Any, snapshot: str) -> None:
    """As if the snapshot was last used seven hours ago; Airflow's clean-up begins at six."""
    tracking = machine.bundles / "_tracking/payments" / snapshot
    tracking.write_text("2020-01-01T00:00:00+00:00")
    long_ago = time.time() - 7 * 3600
    os.utime(tracking, (long_ago, long_ago))


def test_a_long_lived_parent_gets_the_files_and_keeps_its_sys_path(machine: Any, snapshot: str) -> None:
    made = machine.call("initialize", name="payments", version=snapshot)
    assert made["path"] == str(machine.bundles / "payments/versions" / snapshot / "dags")
    assert made["files"] == NAMES
    assert made["version"] == snapshot
    assert made["sys_path_changed"] is False


def test_the_link_leads_to_the_commit_whatever_the_settings(machine: Any, snapshot: str) -> None:
    template = machine.call("initialize", name="payments", version=snapshot)["url"]
    page = f"https://git.example.com/acme/dags/commit/{snapshot}"
    assert template.format(version=snapshot) == page
    assert template.format(version=f"{snapshot}-0123abcd") == page
    assert template.format(version=None)  # a DAG that was stored without a version must not break the UI


def test_the_path_is_known_without_a_download(machine: Any, snapshot: str, versions: Path) -> None:
    assert machine.call("path_of", name="payments", version=snapshot) == str(versions / snapshot / "dags")
    assert not (versions / snapshot).exists()
    assert "nobody" in machine.call("path_of", name="nobody")


def test_a_hundred_processes_download_once(machine: Any, snapshot: str, gate: Any, tmp_path: Path) -> None:
    downloads, at = tmp_path / "downloads", gate()
    downloads.mkdir()
    calls = [
        machine.start(
            "initialize_at_once", name="payments", version=snapshot, go=str(at.path), downloads=str(downloads)
        )
        for _ in range(100)
    ]
    at.open()
    assert [call.answer().get("result") for call in calls] == [NAMES] * 100
    assert len(list(downloads.iterdir())) == 1
    assert aside(machine) == []


@pytest.mark.parametrize("step", ["download", "files", "before the rename", "after the rename"])
def test_a_killed_process_leaves_nothing_that_is_used(machine: Any, snapshot: str, versions: Path, step: str) -> None:
    assert machine.start("die_while", step=step, name="payments", version=snapshot).answer() == {}
    assert (versions / snapshot).exists() == (step == "after the rename")
    if step != "after the rename":
        assert aside(machine) == [snapshot]
        # whoever unpacks another snapshot next clears that away
        machine.publish("payments", snapshot[:-1] + "0", FILES)
        machine.call("initialize", name="payments", version=snapshot[:-1] + "0")
        assert aside(machine) == []
        assert machine.start("die_while", step=step, name="payments", version=snapshot).answer() == {}
    assert machine.call("initialize", name="payments", version=snapshot)["files"] == NAMES
    assert aside(machine) == []


def test_a_waiting_process_goes_on_when_the_one_that_unpacks_is_killed(machine: Any, snapshot: str) -> None:
    locks = machine.bundles / "payments/locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / str(zlib.crc32(snapshot.encode()) % 64)).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody unpacks
        call = machine.start("initialize", name="payments", version=snapshot)
        call.connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            call.connection.recv(1)
        call.connection.settimeout(None)
    assert call.connection.recv(1 << 20).startswith(b'{"result"')
    call.stream.close()
    call.connection.close()


def test_airflows_clean_up_takes_what_is_old_and_not_in_use(
    machine: Any, snapshot: str, versions: Path, gate: Any
) -> None:
    other = snapshot[:-1] + "0"
    machine.publish("payments", other, FILES)
    machine.call("initialize", name="payments", version=other)
    for function in ("use_and_wait", "hold_and_wait"):
        at = gate()
        call = machine.start(function, name="payments", version=snapshot, **at.names)
        at.wait_for_child()
        grow_old(machine, snapshot)
        grow_old(machine, other)
        machine.call("clean_up", name="payments", env=KEEP_NONE)
        assert (versions / snapshot).is_dir()
        assert not (versions / other).exists()
        assert not (machine.bundles / "_tracking/payments" / other).exists()
        at.open()
        assert call.result()
        machine.call("initialize", name="payments", version=other)
    # nobody uses it any more
    grow_old(machine, snapshot)
    machine.call("clean_up", name="payments", env=KEEP_NONE)
    assert not (versions / snapshot).exists()
    # and it comes back when it is asked for
    assert machine.call("initialize", name="payments", version=snapshot)["files"] == NAMES


def test_half_of_a_version_that_the_clean_up_left_is_not_used(machine: Any, snapshot: str, versions: Path) -> None:
    machine.call("initialize", name="payments", version=snapshot)
    grow_old(machine, snapshot)
    assert machine.start("die_while_cleaning_up", name="payments", env=KEEP_NONE).answer() == {}
    assert (versions / snapshot).is_dir()
    missing = [name for name in NAMES if not (versions / snapshot / "dags" / name).exists()]
    assert len(missing) == 1 or not (versions / snapshot / "teamlib.py").exists()
    assert machine.call("initialize", name="payments", version=snapshot)["files"] == NAMES
    assert (versions / snapshot / "teamlib.py").exists()


def test_an_old_version_that_is_whole_is_not_downloaded_again(machine: Any, snapshot: str, versions: Path) -> None:
    machine.call("initialize", name="payments", version=snapshot)
    grow_old(machine, snapshot)
    before = (versions / snapshot).stat().st_ino
    machine.call("initialize", name="payments", version=snapshot)
    assert (versions / snapshot).stat().st_ino == before


def test_after_a_power_failure_empty_files_are_noticed(machine: Any, snapshot: str, versions: Path) -> None:
    machine.call("initialize", name="payments", version=snapshot)
    before = (versions / snapshot).stat().st_ino
    assert machine.call("boot", name="payments", version=snapshot, id="next boot") == NAMES
    assert (versions / snapshot).stat().st_ino == before
    (versions / snapshot / "dags/3.py").write_text("")
    assert machine.call("boot", name="payments", version=snapshot, id="the boot after") == NAMES
    assert (versions / snapshot / "dags/3.py").read_text() == FILES["dags/3.py"]


def test_what_is_on_the_machine_needs_no_store(machine: Any, snapshot: str) -> None:
    machine.call("initialize", name="payments", version=snapshot)
    machine.go_live("payments", snapshot)
    folder = Path(machine.store_url.removeprefix("file://"))
    folder.rename(folder.with_name("away"))
    try:
        assert machine.call("initialize", name="payments", version=snapshot)["files"] == NAMES
        kind, says = machine.fails("initialize", name="payments")
        assert kind == "StoreUnavailable"
        assert machine.store_url in says
    finally:
        folder.with_name("away").rename(folder)


def test_a_team_that_never_pushed_waits(machine: Any) -> None:
    made = machine.call("initialize", name="nobody")
    assert made["files"] == []
    assert made["version"] is None
    assert Path(made["path"]).is_dir()


def test_without_a_version_it_is_what_is_live(machine: Any, snapshot: str, gate: Any) -> None:
    machine.go_live("payments", snapshot)
    assert machine.call("initialize", name="payments")["version"] == snapshot
    at = gate()
    call = machine.start("refreshed", name="payments", **at.names)
    at.wait_for_child()
    other = snapshot[:-1] + "0"
    machine.publish("payments", other, FILES)
    machine.go_live("payments", other)
    at.open()
    assert call.result() == [snapshot, other]


def test_what_does_not_exist_fails_in_a_parent_too(machine: Any) -> None:
    kind, says = machine.fails("initialize", name="payments", version="c" * 40)
    assert kind == "SnapshotMissing"
    assert "team payments" in says


def test_an_archive_with_more_than_files_is_refused(machine: Any, snapshot: str, versions: Path) -> None:
    bad = snapshot[:-1] + "0"
    machine.publish("payments", bad, {"dags/../../../escaped.py": "x"})
    kind, says = machine.fails("initialize", name="payments", version=bad)
    assert kind == "SnapshotDamaged"
    assert "no name inside a folder" in says
    assert not (versions / bad).exists()
    assert aside(machine) == []


def test_a_disk_that_refuses_is_one_clear_error(machine: Any, snapshot: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kind, says = machine.fails(
        "initialize",
        name="payments",
        version=snapshot,
        env={"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "file")},
    )
    assert kind == "AerodromeError"
    assert "can not be unpacked to" in says and "dag_bundle_storage_path" in says


def test_one_process_can_change_between_teams_and_versions(machine: Any, snapshot: str) -> None:
    new, risk = snapshot[:-1] + "0", snapshot[:-1] + "1"
    machine.publish("payments", new, {"teamlib.py": "WHICH = 'new'", "dags/a.py": ""})
    machine.publish("risk", risk, {"teamlib.py": "WHICH = 'risk'", "dags/a.py": ""})
    assert machine.call(
        "imports_in_one_process",
        versions_of=[("payments", snapshot), ("risk", risk), ("payments", new), ("payments", snapshot)],
    ) == ["payments", "risk", "new", "payments"]


def test_kill_9_of_many_at_any_moment(machine: Any, snapshot: str, versions: Path) -> None:
    """Fifteen times, with the moment spread over the time that unpacking takes."""
    large = {f"dags/{number}.py": os.urandom(2000) for number in range(300)}
    killed = 0
    for attempt in range(15):
        commit = f"{attempt:x}" * 3 + snapshot[3:]
        machine.publish("payments", commit, large)
        call = machine.start("initialize", name="payments", version=commit)
        time.sleep(attempt * 0.003)
        try:
            os.kill(call.process, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass  # a fast machine was done by now
        call.answer()
        if (versions / commit).exists():
            assert len(list((versions / commit / "dags").iterdir())) == 300
        assert len(machine.call("initialize", name="payments", version=commit)["files"]) == 300
    assert aside(machine) == []
    assert killed >= 5
