"""Eight processes race for one object and are killed at any moment: no acknowledged write may be lost.

``AERODROME_TEST_STORE`` (and ``AERODROME_TEST_STORE_OPTIONS``, JSON) run the same against any store.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from aerodrome.store import Store

PROCESSES = 8


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[], Store]:
    url = os.environ.get("AERODROME_TEST_STORE")
    if url is None:
        return lambda: Store((tmp_path / "store").as_uri())
    options = json.loads(os.environ.get("AERODROME_TEST_STORE_OPTIONS", "{}"))
    url = f"{url.rstrip('/')}/{uuid.uuid4()}"
    return lambda: Store(url, options)


def child(work: Callable[[], None]) -> int:
    """Fork a process that does `work`; the parent has not used a store yet, whose threads would not survive that."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def count(store: Store, acknowledge: Callable[[int], None], until: float) -> None:
    store.start()  # a race as well
    while time.monotonic() < until:
        entry = store.read("counter")
        number = json.loads(entry.data)["number"] + 1 if entry else 1
        data = json.dumps({"number": number, "padding": "x" * random.randrange(5000)}).encode()
        if store.swap("counter", data, entry.tag if entry else None) is not None:
            acknowledge(number)


def test_no_acknowledged_write_is_lost_when_writers_are_killed(open_store: Callable[[], Store]) -> None:
    until = time.monotonic() + 3
    receive, send = os.pipe()  # lines shorter than a pipe's page arrive whole, also from processes that are killed
    acknowledged: list[int] = []

    def listen() -> None:
        with os.fdopen(receive) as lines:
            acknowledged.extend(int(line) for line in lines)

    def work() -> None:
        os.close(receive)
        count(open_store(), lambda number: os.write(send, b"%d\n" % number) and None, until)

    processes = [child(work) for _ in range(PROCESSES)]
    listener = threading.Thread(target=listen)
    listener.start()
    kills = 0
    chance = random.Random(7)
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.02, 0.06))
        victim = chance.randrange(PROCESSES)
        os.kill(processes[victim], signal.SIGKILL)
        _, status = os.waitpid(processes[victim], 0)
        kills += os.WIFSIGNALED(status)
        processes[victim] = child(work)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    os.close(send)
    listener.join()

    assert codes == [0] * PROCESSES
    assert kills > 20
    assert len(acknowledged) > 50
    assert len(set(acknowledged)) == len(acknowledged), "two writers both won the same number"
    entry = open_store().read("counter")
    assert entry is not None
    number = json.loads(entry.data)["number"]
    # a killed writer may have written and not have said so
    assert set(acknowledged) <= set(range(1, number + 1))
    assert number - len(acknowledged) <= kills
    print(f"{number} writes, {kills} kills, {number - len(acknowledged)} killed before they could say so")


def test_a_reader_never_sees_a_part_of_an_object(open_store: Callable[[], Store]) -> None:
    until = time.monotonic() + 1.5
    sizes = (10, 100_000, 3_000_000)

    def write() -> None:
        store = open_store()
        while time.monotonic() < until:
            letter = random.choice(b"abc")
            store.write("object", bytes([letter]) * random.choice(sizes))

    def read() -> None:
        store = open_store()
        seen = set()
        while time.monotonic() < until or not seen:
            entry = store.read("object")
            if entry is not None:
                assert len(entry.data) in sizes
                assert len(set(entry.data)) == 1
                seen.add(len(entry.data))

    open_store_once = child(lambda: open_store().start())
    os.waitpid(open_store_once, 0)
    writers = [child(write) for _ in range(3)]
    reader = child(read)
    while time.monotonic() < until:
        time.sleep(0.05)
        os.kill(writers[0], signal.SIGKILL)
        os.waitpid(writers[0], 0)
        writers[0] = child(write)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in [*writers, reader]]
    assert codes == [0, 0, 0, 0]


def test_teams_claim_dag_ids_at_once(open_store: Callable[[], Store]) -> None:
    ids = [f"dag_{number}" for number in range(40)]

    def claim(team: str) -> None:
        store, mine = open_store(), random.sample(ids, len(ids))
        for dag_id in mine:
            store.claim_dag_ids(team, [dag_id])

    teams = [f"team-{number}" for number in range(4)]
    processes = [child(lambda team=team: claim(team)) for team in teams]  # type: ignore[misc]
    assert [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes] == [0] * 4
    owners = open_store().dag_id_owners()
    assert set(owners) == set(ids)
    assert set(owners.values()) <= set(teams)


@pytest.fixture(autouse=True)
def _no_child_stays() -> None:
    """Children of a failed test end by themselves at their deadline; reap those that did."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
