"""What a starting platform looks like: lines; on a terminal also what is being waited for."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.status import Status


class Progress:
    """Shows the events of a supervisor. A context manager.

    Args:
        quiet: show them on stderr: stdout is for a program.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True, stderr=quiet)
        self._began = time.monotonic()
        self._waiting: dict[str, None] = {}
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.quiet()

    def quiet(self) -> None:
        """Nothing is waited for any more."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def say(self, text: str) -> None:
        """Print `text`."""
        self._console.print(text, markup=False)

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        what = event["event"]
        if what in ("component", "step"):
            self._component(event)
        elif what == "ready":
            self.quiet()
            self.say(f"ready after {event['seconds']} s")
        elif what == "stopping":
            self.say("stopping")

    def _component(self, event: dict[str, Any]) -> None:
        name, state = event["name"], event["state"]
        if state in ("starting", "stopping", "setting up"):
            self._waiting[name] = None
        else:
            self._waiting.pop(name, None)
        if state == "ready":
            self._line("+", name, f"{event['seconds']} s" if "seconds" in event else "")
        elif state == "waiting":
            detail = f": {event['detail']}" if event.get("detail") else ""
            self._line("!", name, f"ended ({event['exit']}){detail}; again in {event['delay']:g} s")
        elif state == "stopped":
            self._line("-", name, "stopped")
        if self._status is not None:
            self._status.update(f"waiting for {', '.join(self._waiting)}" if self._waiting else "waiting")

    def _line(self, sign: str, name: str, text: str) -> None:
        self.say(f"{time.monotonic() - self._began:6.1f} s  {sign} {name:<26} {text}".rstrip())
