"""kill -9 of a processor at the worst moments: the next one ends in the same state."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest
from kit import Workshop, dag


def test_while_it_parses(workshop: Workshop, tmp_path: Path) -> None:
    count = tmp_path / "count"
    slow = f"import time\nopen({str(count)!r}, 'a').write('x')\ntime.sleep(0.5)\n" + dag("slow")
    first = workshop.push("first", {"dags/a.py": dag("a")})
    assert workshop.once().returncode == 0
    second = workshop.push("second", {"dags/a.py": dag("a"), "dags/slow.py": slow})
    service = workshop.start()
    workshop.until(count.exists, what="it parses")
    service.stop(signal.SIGKILL)
    assert workshop.live() == {"a": first}
    assert workshop.team.current().snapshot == first  # type: ignore[union-attr]
    count.unlink()
    assert workshop.once().returncode == 0
    assert workshop.live() == {"a": second, "slow": second}
    assert count.read_text() == "x"


def test_between_the_pointer_and_the_database(workshop: Workshop, tmp_path: Path) -> None:
    """The pointer is the commit point: the database follows it."""
    first = workshop.push("first", {"dags/a.py": dag("a")})
    assert workshop.once().returncode == 0
    second = workshop.push("second", {"dags/b.py": dag("b")})
    stopped = tmp_path / "stopped"
    service = workshop.start(AERODROME_TEST_STOP_AT="moved", AERODROME_TEST_STOPPED=str(stopped))
    workshop.until(stopped.exists, what="it stopped between the two")
    service.stop(signal.SIGKILL)
    assert workshop.team.current().snapshot == second  # type: ignore[union-attr]
    assert workshop.live() == {"a": first}
    assert workshop.once().returncode == 0
    assert workshop.live() == {"b": second}
    assert [move.snapshot for move in workshop.team.history()] == [second, first]


@pytest.mark.parametrize("part", ["warm parent", "child"])
def test_parts_of_it(workshop: Workshop, tmp_path: Path, part: str) -> None:
    """The warm parent or a child dies: the file is parsed again, and nobody is blamed."""
    count = tmp_path / "count"
    slow = f"import time\nopen({str(count)!r}, 'a').write('x')\ntime.sleep(0.5)\n" + dag("slow")
    snapshot = workshop.push("slow", {"dags/slow.py": slow})
    with workshop.start() as service:
        workshop.until(count.exists, what="it parses")
        nursery = psutil.Process(service.process.pid).children()[0]
        (nursery if part == "warm parent" else nursery.children()[0]).kill()
        workshop.until(lambda: workshop.live() == {"slow": snapshot}, what="live all the same")
        assert count.read_text() == "xx"


def test_idle_and_started_again_it_parses_once_at_most(workshop: Workshop, tmp_path: Path) -> None:
    count = tmp_path / "count"
    snapshot = workshop.push("counted", {"dags/a.py": f"open({str(count)!r}, 'a').write('x')\n" + dag("a")})
    with workshop.start():
        workshop.until(lambda: workshop.live() == {"a": snapshot}, what="live")
    with workshop.start() as service:
        workshop.until(lambda: "is live" in service.log.read_text().rpartition("payments: the")[2], what="started")
        time.sleep(0.5)  # nothing more is what must happen
    assert len(count.read_text()) <= 2
