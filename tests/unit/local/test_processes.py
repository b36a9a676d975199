from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aerodrome.errors import AerodromeError
from aerodrome.local import kinship
from aerodrome.local.processes import Processes, Spec

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture(autouse=True)
def subreaper() -> Iterator[None]:
    kinship.adopt_orphans()
    yield
    kinship.end(kinship.descendants, grace=0)
    kinship.adopt_orphans(False)


def shell(name: str, script: str, **others: Any) -> Spec:
    return Spec(name, ("sh", "-c", script), ENV, **others)


def supervised(tmp_path: Path, story: Callable[[Processes, list[dict[str, Any]]], Awaitable[None]]) -> None:
    async def main() -> None:
        events: list[dict[str, Any]] = []
        await asyncio.wait_for(story(Processes(tmp_path, tmp_path, events.append), events), 30)

    asyncio.run(main())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def states(events: list[dict[str, Any]]) -> list[str]:
    return [event["state"] for event in events]


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_program_is_run_to_its_end(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        assert await processes.run(shell("once", "echo said; exit 3")) == 3

    supervised(tmp_path, story)
    assert (tmp_path / "once.log").read_text() == "said\n"


def test_a_component_runs_until_it_is_stopped(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        component = processes.start(shell("one", "exec sleep 100"))
        await component.is_ready.wait()
        pid = component.pid
        assert pid is not None
        assert processes.rows()[0]["state"] == "ready"
        await processes.stop("one")
        assert not alive(pid)
        assert "one" not in processes
        assert states(events) == ["starting", "ready", "stopping", "stopped"]

    supervised(tmp_path, story)


def test_a_component_that_ends_is_started_again_later_and_later(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        component = processes.start(shell("flaky", "echo ERROR: no luck; exit 7"))
        await until(lambda: component.restarts == 2)
        await processes.stop("flaky")
        waits = [event for event in events if event["state"] == "waiting"]
        assert [wait["delay"] for wait in waits] == [0.5, 1.0]
        assert waits[0]["exit"] == 7
        assert waits[0]["detail"] == "ERROR: no luck"

    supervised(tmp_path, story)


def test_ready_is_what_the_component_says(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        answers = iter([False, False, True])

        async def ready() -> bool:
            return next(answers)

        component = processes.start(shell("slow", "exec sleep 100", ready=ready))
        await asyncio.sleep(0)
        assert not component.is_ready.is_set()
        await component.is_ready.wait()
        await processes.stop("slow")

    supervised(tmp_path, story)


def test_a_component_can_announce_that_it_works(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        script = "read -r go < go; touch $AERODROME_READY; exec sleep 100"
        os.mkfifo(tmp_path / "go")
        component = processes.start(shell("slow", script, announces=True))
        await asyncio.sleep(0.1)
        assert component.condition == "starting"
        (tmp_path / "go").write_text("go\n")
        await component.is_ready.wait()
        await processes.stop("slow")

    supervised(tmp_path, story)


def test_what_a_component_started_ends_with_it(tmp_path: Path) -> None:
    # a child in a session of its own, a daemonized one, and one that ignores being asked
    script = textwrap.dedent(
        """
        setsid sleep 1001 &
        (setsid sh -c 'sleep 1002 & echo $! >> pids' &)
        sh -c 'trap "" TERM INT; sleep 1003' & echo $! >> pids
        echo $$ >> pids
        wait
        """
    )

    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        processes.start(shell("parent", script))
        await until(lambda: len(kinship.descendants()) >= 5)
        pids = [process.pid for process in kinship.descendants()]
        await processes.stop("parent", now=True)
        assert [pid for pid in pids if alive(pid)] == []

    supervised(tmp_path, story)


def test_orphans_of_a_dead_component_are_ended_before_its_next_start(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        component = processes.start(shell("parent", "setsid sleep 1004 & exec sleep 1005"))
        await until(lambda: len(kinship.descendants()) == 2)
        orphan = next(p.pid for p in kinship.descendants() if p.pid != component.pid)
        assert component.pid is not None
        os.kill(component.pid, signal.SIGKILL)
        await until(lambda: component.restarts == 1 and component.condition == "ready")
        assert not alive(orphan)
        await processes.stop("parent", now=True)

    supervised(tmp_path, story)


def test_one_that_does_not_end_when_asked_is_killed_after_its_time(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("aerodrome.local.processes._LAST_GRACE", 0.1)

    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        component = processes.start(shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.01; done", grace=0.1))
        await until(lambda: component.log.exists() and component.log.read_text() == "up\n")
        began = time.monotonic()
        await processes.stop("deaf")
        assert 0.1 < time.monotonic() - began < 5

    supervised(tmp_path, story)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        with pytest.raises(AerodromeError, match="no-such-program"):
            await processes.run(Spec("x", ("/no-such-program",), ENV))

    supervised(tmp_path, story)


def test_long_logs_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aerodrome.local.processes._LARGEST_LOG", 100)
    log = tmp_path / "one.log"
    log.write_text("x" * 200)

    async def story(processes: Processes, events: list[dict[str, Any]]) -> None:
        await processes.run(shell("one", "echo fresh"))

    supervised(tmp_path, story)
    assert log.read_text() == "fresh\n"
    assert (tmp_path / "one.log.1").read_text() == "x" * 200


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_components_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from aerodrome.local.processes import Processes, Spec

        async def main():
            folder = Path(sys.argv[1])
            component = Processes(folder, folder, lambda event: None).start(Spec("one", ("sleep", "1006"), {}))
            await component.is_ready.wait()
            print(component.pid, flush=True)
            await asyncio.sleep(1000)

        asyncio.run(main())
        """
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        component = psutil.Process(pid)
        assert alive(pid)
        supervisor.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        component.wait(10)
    assert not alive(pid)


def test_what_survived_is_found_by_its_mark(tmp_path: Path) -> None:
    program = ["sleep", "1007"]
    with subprocess.Popen(program, env={**ENV, kinship.MARK: str(tmp_path)}, start_new_session=True) as survivor:
        assert [process.pid for process in kinship.marked(tmp_path)] == [survivor.pid]
        assert kinship.marked(tmp_path / "other") == []
        assert kinship.end(lambda: kinship.marked(tmp_path)) == 1
        assert not alive(survivor.pid)
