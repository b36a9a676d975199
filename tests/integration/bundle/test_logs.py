"""Task logs in the store, by the way that Airflow finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    return f"dag_id={request.node.name}/run_id=manual__2026-01-01T00:00:00+00:00/task_id=größe/attempt=1.log"


def write(machine: Any, path: str, text: str) -> Path:
    file: Path = machine.logs / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def lines(machine: Any, path: str) -> list[list[str]]:
    found: list[list[str]] = machine.call("read_log", path=path)["lines"]
    return found


def test_a_log_is_one_object_below_logs(machine: Any, path: str) -> None:
    write(machine, path, "one\ntwo\n")
    machine.call("upload_log", path=path)
    assert machine.store.read(f"logs/{path}").data == b"one\ntwo\n"
    assert lines(machine, path) == [["one", "two"]]
    assert list(machine.store.list(f"logs/{path.rpartition('/')[0]}")) == [f"logs/{path}"]


def test_an_absolute_path_is_taken_as_well(machine: Any, path: str) -> None:
    file = write(machine, path, "one\n")
    machine.call("upload_log", path=str(file))
    assert lines(machine, path) == [["one"]]


def test_a_path_outside_of_the_logs_is_refused(machine: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    kind, _ = machine.fails("upload_log", path=str(tmp_path / "secret"))
    assert kind == "ValueError"
    kind, _ = machine.fails("upload_log", path="../socket")
    assert kind == "ValueError"


def test_the_logs_of_an_attempts_triggers_belong_to_it(machine: Any, path: str) -> None:
    for name in (path, f"{path}.trigger.17.log", path.replace("attempt=1", "attempt=11")):
        write(machine, name, f"of {name.rpartition('/')[2]}\n")
        machine.call("upload_log", path=name)
    assert lines(machine, path) == [["of attempt=1.log"], ["of attempt=1.log.trigger.17.log"]]


def test_an_attempt_that_goes_on_elsewhere_goes_on_in_its_log(machine: Any, path: str) -> None:
    """Deferred or rescheduled: another pod has only the later part, the same machine has both in one file."""
    write(machine, path, "one\n")
    machine.call("upload_log", path=path)
    write(machine, path, "two\n")
    machine.call("upload_log", path=path)
    assert lines(machine, path) == [["one", "two"]]
    write(machine, path, "one\ntwo\nthree\n")
    machine.call("upload_log", path=path)
    assert lines(machine, path) == [["one", "two", "three"]]
    machine.call("upload_log", path=path)
    assert lines(machine, path) == [["one", "two", "three"]]


def test_a_log_that_does_not_exist_is_no_error(machine: Any, path: str) -> None:
    machine.call("upload_log", path=path)
    assert machine.call("read_log", path=path) == {"sources": [], "lines": []}


def test_large_logs_are_read_in_pieces_and_odd_bytes_do_no_harm(machine: Any, path: str) -> None:
    expected = [json.dumps({"event": f"größe {number}" * 20}, ensure_ascii=False) for number in range(20_000)]
    file = write(machine, path, "\n".join(expected))
    with file.open("ab") as log:
        log.write(b"\n\xff\xfe half a letter: \xc3")
    machine.call("upload_log", path=path)
    (found,) = lines(machine, path)
    assert found[:-1] == expected
    assert found[-1] == "\ufffd\ufffd half a letter: \ufffd"


def test_a_store_that_can_not_be_read_is_a_line_beside_what_airflow_has_itself(machine: Any, path: str) -> None:
    write(machine, path, "one\n")
    machine.call("upload_log", path=path)
    folder = Path(machine.store_url.removeprefix("file://"))
    folder.rename(folder.with_name("away"))
    try:
        answer = machine.call("read_log", path=path)
    finally:
        folder.with_name("away").rename(folder)
    assert answer["lines"] == []
    (source,) = answer["sources"]
    assert machine.store_url in source
    assert "\n" not in source
