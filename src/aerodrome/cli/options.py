"""Options that many commands share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aerodrome.config.installation import Installation

CONFIG = "aerodrome.yaml"


class Place:
    """Which installation a command is about."""

    def __init__(self, config: Path | None, state: Path | None) -> None:
        self.given = config is not None
        self.config = (config or Path(CONFIG)).absolute()
        self._state = state

    @property
    def state(self) -> Path:
        """The state folder, absolute."""
        return self._state.absolute() if self._state is not None else self.config.parent / ".aerodrome"

    def open(self) -> Installation:
        """The installation.

        Raises:
            ConfigError: its file has mistakes.
            UsageError: there is no such file.
        """
        from aerodrome.config.installation import Installation

        return Installation.open(self.config, self.state)


def place(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the options ``-c``, ``--state`` and ``-v``; it gets a :class:`Place` first."""

    @click.option(
        "-c", "--config", "config", type=click.Path(path_type=Path), envvar="AERODROME_CONFIG", metavar="FILE",
        help="The configuration.  [default: ./aerodrome.yaml]",
    )  # fmt: skip
    @click.option(
        "--state", type=click.Path(path_type=Path), envvar="AERODROME_STATE", metavar="DIR",
        help="What this machine keeps.  [default: .aerodrome beside the configuration]",
    )  # fmt: skip
    @click.option("-v", "--verbose", count=True, help="Say more; twice: everything.")
    @functools.wraps(command)
    def wrapped(config: Path | None, state: Path | None, verbose: int, **others: Any) -> Any:
        log(verbose)
        return command(Place(config, state), **others)

    return wrapped


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def log(verbose: int, *, least: int = logging.WARNING) -> None:
    """Log to stderr: warnings, with -v what happens, with -vv everything."""
    level = (least, min(least, logging.INFO), logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=level)
