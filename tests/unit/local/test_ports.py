from __future__ import annotations

import socket
from pathlib import Path

from aerodrome.local.ports import LOOPBACK, Ports, is_free


def _taken() -> socket.socket:
    return socket.create_server((LOOPBACK, 0))


def test_the_usual_port_when_it_is_free(tmp_path: Path) -> None:
    with _taken() as listening:
        port = listening.getsockname()[1]
    assert Ports(tmp_path / "ports").choose("ui", port) == port


def test_another_port_when_it_is_taken_and_the_same_the_next_time(tmp_path: Path) -> None:
    with _taken() as listening:
        port = listening.getsockname()[1]
        assert not is_free(port)
        chosen = Ports(tmp_path / "ports").choose("ui", port)
        assert chosen != port
    assert Ports(tmp_path / "ports").choose("ui", port) == chosen
    assert Ports(tmp_path / "ports").known("ui") == chosen


def test_a_remembered_port_that_was_taken_since_is_given_up(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports")
    chosen = ports.choose("ui")
    with socket.create_server((LOOPBACK, chosen)):
        assert Ports(tmp_path / "ports").choose("ui") != chosen


def test_two_names_never_share_a_port(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports")
    chosen = [ports.choose(f"team {number}", udp=True) for number in range(50)]
    assert len(set(chosen)) == 50


def test_a_broken_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "ports").write_text("[1, 2]")
    ports = Ports(tmp_path / "ports")
    assert ports.known("ui") is None
    ports.forget("ui")
    assert ports.choose("ui") > 0
