from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from aerodrome.local.ports import LOOPBACK, Ports, is_free


@pytest.fixture
def ports_of(tmp_path: Path) -> Iterator[Callable[[str], Ports]]:
    """Ports of an installation, by its name; what they claim is free again after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(closing(Ports(tmp_path / name)))


def _taken() -> socket.socket:
    return socket.create_server((LOOPBACK, 0))


def test_the_usual_port_when_it_is_free(ports_of: Callable[[str], Ports]) -> None:
    with _taken() as listening:
        port = listening.getsockname()[1]
    assert ports_of("one").choose("ui", port) == port


def test_another_port_when_it_is_taken_and_the_same_the_next_time(ports_of: Callable[[str], Ports]) -> None:
    ports = ports_of("one")
    with _taken() as listening:
        port = listening.getsockname()[1]
        assert not is_free(port)
        chosen = ports.choose("ui", port)
        assert chosen != port
    ports.close()
    assert ports_of("one").known("ui") == chosen
    assert ports_of("one").choose("ui", port) == chosen


def test_two_installations_that_start_at_once_never_share_a_port(ports_of: Callable[[str], Ports]) -> None:
    with _taken() as listening:
        port = listening.getsockname()[1]
    one = ports_of("one")
    assert one.choose("ui", port) == port
    assert ports_of("other").choose("ui", port) != port  # though nobody listens there yet
    one.forget("ui")
    assert ports_of("third").choose("ui", port) == port


def test_a_remembered_port_that_was_taken_since_is_given_up(ports_of: Callable[[str], Ports]) -> None:
    with closing(ports_of("one")) as ports:
        chosen = ports.choose("ui")
    with socket.create_server((LOOPBACK, chosen)):
        assert ports_of("one").choose("ui") != chosen


def test_two_names_never_share_a_port(ports_of: Callable[[str], Ports]) -> None:
    ports = ports_of("one")
    chosen = [ports.choose(f"team {number}", udp=True) for number in range(50)]
    assert len(set(chosen)) == 50
    assert [ports.choose(f"team {number}", udp=True) for number in range(50)] == chosen


def test_a_broken_file_is_begun_anew(tmp_path: Path, ports_of: Callable[[str], Ports]) -> None:
    (tmp_path / "one").write_text("[1, 2]")
    ports = ports_of("one")
    assert ports.known("ui") is None
    ports.forget("ui")
    assert ports.choose("ui") > 0
