"""The platform of one machine: one story, told in order, on one platform that is started for real."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import psutil

DAG = """\
from airflow.sdk import dag, task
import shared

@dag(schedule=None)
def {team}_main():
    @task
    def who():
        return shared.TEAM

    @task
    def hold(folder, result):
        import os, pathlib, time
        pathlib.Path(folder, "started").write_text(str(os.getpid()))
        while not pathlib.Path(folder, "go").exists():
            time.sleep(0.05)
        return result

    @task.branch
    def choose(**context):
        return "hold" if context["params"].get("folder") else "done"

    @task
    def done():
        return True

    choose() >> [hold("{{{{ params.folder }}}}", who()), done()]

{team}_main()
"""
WAIT = """\
from airflow.sdk import dag
from waits import Wait

@dag(schedule=None)
def alpha_wait():
    Wait(task_id="wait", folder={folder!r})

alpha_wait()
"""
WAITS = """\
import asyncio, pathlib
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

SAYS = {says!r}

class WaitTrigger(BaseTrigger):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def serialize(self):
        return "waits.WaitTrigger", {{"folder": self.folder}}

    async def run(self):
        with pathlib.Path(self.folder, "waits").open("a") as file:
            file.write(SAYS + "\\n")
        while not pathlib.Path(self.folder, "go").exists():
            await asyncio.sleep(0.05)
        yield TriggerEvent(SAYS)

class Wait(BaseOperator):
    def __init__(self, *, folder, **others):
        super().__init__(**others)
        self.folder = folder

    def execute(self, context):
        self.defer(trigger=WaitTrigger(self.folder), method_name="resume")

    def resume(self, context, event):
        return event
"""


def _main(team: str) -> dict[str, str]:
    return {"dags/main.py": DAG.format(team=team), "dags/shared.py": f"TEAM = {team!r}\n"}


def _succeeds(machine: Any, dag_id: str) -> None:
    run = machine.api.wait(dag_id, machine.api.trigger(dag_id), timeout=60)
    assert run["state"] == "success", machine.logs()


def test_up_starts_everything_on_loopback_only(machine: Any) -> None:
    machine.teams("alpha", "beta")
    folder = machine.folder / "waiting"
    folder.mkdir()
    files = {"dags/wait.py": WAIT.format(folder=str(folder)), "dags/waits.py": WAITS.format(says="first")}
    alpha = machine.repository("alpha", _main("alpha") | files)
    beta = machine.repository("beta", _main("beta"))
    said = machine.run("up", "--detach")
    assert "UI: http://localhost:" in said
    found = machine.status()
    assert found["healthy"]
    assert {part["name"] for part in found["components"]} == {
        *("database", "sync", "api-server", "scheduler"),
        *(f"{kind} {team}" for kind in ("processor", "triggerer") for team in ("alpha", "beta")),
    }
    addresses = {
        connection.laddr.ip
        for process in machine.left()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or connection.type.name == "SOCK_DGRAM"
    }
    assert addresses <= {"127.0.0.1"}
    passwords = next(machine.state.rglob("*passwords*"))
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    machine.live("alpha", "alpha_main", alpha)
    machine.live("beta", "beta_main", beta)


def test_no_secret_of_the_control_plane_reaches_others(machine: Any) -> None:
    jwt = next(machine.state.rglob("jwt_secret")).read_text()
    database = "postgresql"
    for part in machine.status()["components"]:
        process = psutil.Process(part["pid"])
        for one in (process, *process.children(recursive=True)):
            try:
                line, environment = " ".join(one.cmdline()), one.environ()
            except psutil.Error:
                continue
            assert jwt not in line
            if part["name"].startswith(("processor", "triggerer", "sync")):
                assert jwt not in environment.values(), part["name"]
                assert not any(database in value for value in environment.values()), part["name"]


def test_each_team_runs_its_own_modules(machine: Any) -> None:
    for team in ("alpha", "beta"):
        dag_id = f"{team}_main"
        run_id = machine.api.trigger(dag_id)
        assert machine.api.wait(dag_id, run_id, timeout=60)["state"] == "success"
        assert machine.api.result(dag_id, run_id, "who") == team
        assert "Done. Returned value was" in machine.api.log(dag_id, run_id, "who")


def test_a_trigger_goes_on_with_the_code_that_is_live(machine: Any) -> None:
    folder = machine.folder / "waiting"
    waits = folder / "waits"
    run_id = machine.api.trigger("alpha_wait")
    machine.until(waits.exists, "the trigger runs")
    # another file has changed: nothing happens to it
    machine.live("alpha", "alpha_main", machine.commit("alpha", {"notes.txt": "nothing that a trigger imports"}))
    pid = machine.component("triggerer alpha")["pid"]
    machine.live("alpha", "alpha_wait", machine.commit("alpha", {"dags/waits.py": WAITS.format(says="second")}))
    machine.until(lambda: waits.read_text() == "first\nsecond\n", "taken up again")
    assert machine.component("triggerer alpha")["pid"] == pid
    # its process dies: taken up again
    child = psutil.Process(pid).children()[0]
    child.kill()
    machine.until(lambda: waits.read_text() == "first\nsecond\nsecond\n", "taken up once more")
    (folder / "go").touch()
    assert machine.api.wait("alpha_wait", run_id, timeout=60)["state"] == "success"
    assert machine.api.result("alpha_wait", run_id, "wait") == "second"


def test_second_up_says_what_runs(machine: Any) -> None:
    before = {part["name"]: part["pid"] for part in machine.status()["components"]}
    said = machine.run("up")
    assert "It runs already, as the file says" in said
    assert {part["name"]: part["pid"] for part in machine.status()["components"]} == before


def test_a_team_is_added_and_removed_while_tasks_run(machine: Any) -> None:
    folder = machine.folder / "running"
    folder.mkdir()
    run_id = machine.api.trigger("beta_main", conf={"folder": str(folder)})
    task = int(machine.until(lambda: (folder / "started").exists() and (folder / "started").read_text(), "task runs"))
    gamma = machine.repository("gamma", _main("gamma"))
    machine.teams("alpha", "beta", "gamma")
    said = machine.run("up")
    assert "processor gamma started" in said and "beta" not in said.partition("UI:")[0].partition("  api-server")[0]
    machine.live("gamma", "gamma_main", gamma)
    _succeeds(machine, "gamma_main")
    machine.teams("alpha", "beta")
    assert "processor gamma stopped" in machine.run("up")
    machine.until(lambda: machine.api.dag("gamma_main")["is_stale"], "DAGs of the removed team are gone")
    assert psutil.pid_exists(task)
    (folder / "go").touch()
    assert machine.api.wait("beta_main", run_id, timeout=60)["state"] == "success"
    assert [one["try_number"] for one in machine.api.tasks("beta_main", run_id) if one["task_id"] == "hold"] == [1]


def test_components_that_are_killed_come_back(machine: Any) -> None:
    """kill -9 of all of them at once: each comes back by itself, as another process."""
    before = {part["name"]: part["pid"] for part in machine.status()["components"]}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = {part["name"]: (part["pid"], part["state"]) for part in machine.status()["components"]}
        return all(now[name][0] != pid and now[name][1] == "ready" for name, pid in before.items())

    machine.until(back, "all are back", 90)
    machine.live("alpha", "alpha_main", machine.commit("alpha", {"notes.txt": "after the kills"}))
    _succeeds(machine, "alpha_main")


def test_a_supervisor_that_is_killed_takes_everything_along(machine: Any) -> None:
    os.kill(machine.status()["supervisor"], signal.SIGKILL)
    machine.until(lambda: not machine.left(), "nothing is left")
    log = machine.state / "logs" / "up.log"
    machine.until(lambda: "supervisor has died" in log.read_text(), "the command says so")
    assert "Traceback" not in log.read_text()


def test_everything_killed_at_once_is_cleared_up_by_the_next_command(machine: Any) -> None:
    up = machine.foreground()
    machine.live("alpha", "alpha_main", machine.commit("alpha", {"notes.txt": "after the supervisor's death"}))
    everyone = machine.left()
    supervisor = machine.status()["supervisor"]
    # all at once: the command, the supervisor, and nobody who could end the rest but the kernel and the next command
    os.kill(up.pid, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    up.communicate(timeout=60)
    machine.run("down")
    assert machine.left() == []
    assert not [process for process in everyone if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_down_from_another_terminal(machine: Any) -> None:
    up = machine.foreground()
    machine.run("down")
    said = up.communicate(timeout=60)[0]
    assert up.returncode == 0 and "error" not in said
    assert machine.left() == []
    assert "nothing runs here" in machine.run("down")


def test_ctrl_c_stops_in_order_and_purge_removes(machine: Any) -> None:
    up = machine.foreground()
    up.send_signal(signal.SIGINT)
    said = up.communicate(timeout=60)[0]
    assert up.returncode == 0 and "error" not in said
    assert machine.left() == []
    machine.run("down", "--purge", "--yes")
    assert not Path(machine.state).exists()
    assert subprocess.run(["git", "-C", machine.folder / "alpha", "status"], capture_output=True).returncode == 0
