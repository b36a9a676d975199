"""What the tests let happen inside a process of Airflow."""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BundleUsageTrackingManager, BundleVersionLock, unpack_bundle_version
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.sdk.api.datamodels._generated import BundleInfo
from airflow.sdk.execution_time import supervisor, task_runner

from aerodrome.airflow import archive, bundle, versions


def wait_for(go: str) -> None:
    """Wait until the test lets go of its lock on the file `go`."""
    with Path(go).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def initialize(name: str, version: str | None = None, env: dict[str, str] | None = None) -> dict[str, Any]:
    """As a long-lived parent does: the scheduler, the api-server, the parent of callbacks."""
    os.environ.update(env or {})
    before = list(sys.path)
    made = DagBundlesManager().get_bundle(name, version)
    made.initialize()
    version, _ = unpack_bundle_version(made.get_current_version(), made)
    return {
        "path": str(made.path),
        "files": sorted(str(p.relative_to(made.path)) for p in made.path.rglob("*") if p.is_file()),
        "version": version,
        "sys_path_changed": sys.path != before,
        "url": made.view_url_template(),
    }


def initialize_at_once(name: str, version: str, go: str, downloads: str) -> list[str]:
    """Wait for `go` with many others, and note each download in the folder `downloads`."""
    from aerodrome.store import TeamStore

    download = TeamStore.download

    def noted(*arguments: Any) -> Any:
        Path(downloads, str(os.getpid())).write_text("")
        return download(*arguments)

    TeamStore.download = noted  # type: ignore[method-assign]
    wait_for(go)
    made = DagBundlesManager().get_bundle(name, version)
    made.initialize()
    return sorted(p.name for p in made.path.rglob("*") if p.is_file())


def path_of(name: str, version: str | None = None) -> str:
    return str(DagBundlesManager().get_bundle(name, version).path)


def refreshed(name: str, ready: str, go: str) -> list[str | None]:
    """The version before and after `go`."""
    made = DagBundlesManager().get_bundle(name)
    made.initialize()
    seen = [made.version]
    Path(ready).write_text("")
    wait_for(go)
    made.refresh()
    return [*seen, made.version]


def use_and_wait(name: str, version: str, ready: str, go: str, team_code: bool = True) -> list[str]:
    """As a task that runs while something else happens to its snapshot."""
    if team_code:
        task_runner.SUPERVISOR_COMMS = object()  # type: ignore[assignment]  # what a child of a supervisor has
    made = DagBundlesManager().get_bundle(name, version)
    made.initialize()
    Path(ready).write_text("")
    wait_for(go)
    return sorted(p.name for p in made.path.rglob("*"))


def hold_and_wait(name: str, version: str, ready: str, go: str) -> bool:
    made = DagBundlesManager().get_bundle(name, version)
    with bundle.unpacked(made._open(), version) as root:  # type: ignore[attr-defined]
        Path(ready).write_text("")
        wait_for(go)
        return root.is_dir()


def imports_in_one_process(versions_of: list[tuple[str, str]]) -> list[str]:
    task_runner.SUPERVISOR_COMMS = object()  # type: ignore[assignment]
    found = []
    for name, version in versions_of:
        made = DagBundlesManager().get_bundle(name, version)
        made.initialize()
        found.append(importlib.import_module("teamlib").WHICH)
    return found


def die_while(step: str, name: str, version: str) -> None:
    """Killed in the middle of `step` of unpacking."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "download":
        from aerodrome.store import TeamStore

        TeamStore.download = die  # type: ignore[method-assign,assignment]
    elif step == "files":
        real, count = archive._copy, iter(range(1000))
        archive._copy = lambda *a: die() if next(count) == 3 else real(*a)
    elif step == "before the rename":
        Path.rename = die  # type: ignore[assignment]
    elif step == "after the rename":
        BundleVersionLock.acquire = die
    DagBundlesManager().get_bundle(name, version).initialize()


def clean_up(name: str, env: dict[str, str] | None = None) -> None:
    """Airflow's own clean-up, as the scheduler calls it."""
    os.environ.update(env or {})
    BundleUsageTrackingManager()._remove_stale_bundle_versions_for_bundle(name)


def die_while_cleaning_up(name: str, env: dict[str, str]) -> None:
    import shutil

    def half(path: Path) -> None:
        first = min(p for p in Path(path).rglob("*") if p.is_file())
        first.unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    shutil.rmtree = half  # type: ignore[assignment]
    clean_up(name, env)


def boot(name: str, version: str, id: str) -> list[str]:
    versions._boot = lambda: id
    made = DagBundlesManager().get_bundle(name, version)
    made.initialize()
    return sorted(p.name for p in made.path.rglob("*") if p.is_file())


def task(api: str, bundle_name: str, version: str | None, log_path: str, file: str = "d.py", tries: int = 1) -> int:
    """What an executor runs for a task, unchanged."""
    ti = TaskInstanceDTO(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        task_id="t",
        dag_id="d",
        run_id="r",
        try_number=tries,
        map_index=-1,
        pool_slots=1,
        queue="default",
        priority_weight=1,
    )
    return supervisor.supervise_task(
        ti=ti,
        bundle_info=BundleInfo(name=bundle_name, version=version),
        dag_rel_path=file,
        token="token",
        server=api,
        log_path=log_path,
    )


def tasks(api: str, count: int, bundle_name: str, version: str, log_path: str) -> list[int]:
    """As a worker of the LocalExecutor: one task after the other, each in a fork."""
    return [task(api, bundle_name, version, f"{log_path}/attempt={number}.log") for number in range(count)]


def read_log(path: str) -> dict[str, Any]:
    from airflow.logging_config import get_remote_task_log

    remote = get_remote_task_log()
    sources, streams = remote.stream(path, None)  # type: ignore[union-attr]
    whole_sources, whole = remote.read(path, None)  # type: ignore[union-attr]
    lines = [list(stream) for stream in streams]
    assert whole_sources == sources
    assert (whole or []) == ["\n".join(stream) for stream in lines]
    return {"sources": sources, "lines": lines}


def upload_log(path: str) -> None:
    from airflow.sdk.log import load_remote_log_handler

    load_remote_log_handler().upload(path)  # type: ignore[union-attr]
