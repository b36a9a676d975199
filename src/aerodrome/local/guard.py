"""What stands above the supervisor: the command itself. Each ends the platform when the other has died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from aerodrome.config.installation import Installation
from aerodrome.local import kinship


class Guard:
    """A supervisor that runs below this process, for as long as the context lasts; after it nothing of it is left.

    SIGINT and SIGTERM of this process reach the supervisor, which stops the platform in order; a second one, at once.

    Args:
        installation: what to run.
        everyone_is_admin: no login, for a demonstration.
    """

    def __init__(self, installation: Installation, *, everyone_is_admin: bool = False) -> None:
        self._installation = installation
        self._argv = [
            *(sys.executable, "-m", "aerodrome.local.supervisor"),
            *("-c", str(installation.path), "--state", str(installation.state)),
            *(["--open"] if everyone_is_admin else []),
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, Any] = {}
        self.asked_to_stop = False
        self._stopped = False

    def __enter__(self) -> Guard:
        kinship.adopt_orphans()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._forward)
        self._child = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, kinship.MARK: str(self._installation.state)},
            # Ctrl-C reaches all processes of a terminal's foreground group: the order of the end is the supervisor's.
            start_new_session=True,
        )
        return self

    def events(self) -> Iterator[dict[str, Any]]:
        """What the supervisor reports, until it ends."""
        assert self._child is not None and self._child.stdout is not None
        for line in self._child.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                self._stopped = self._stopped or event.get("event") == "stopped"
                yield event

    def stop(self) -> None:
        """Ask the supervisor to stop the platform."""
        self.asked_to_stop = True
        self._terminate()

    def _terminate(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    @property
    def has_ended(self) -> bool:
        """Whether the supervisor is gone."""
        return self._child is None or self._child.poll() is not None

    @property
    def code(self) -> int | None:
        """The supervisor's exit code, negative for a signal; None while it runs."""
        return None if self._child is None else self._child.poll()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None
        if not self._stopped:  # else it is about to end by itself
            self._terminate()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        for _ in child.stdout:  # it writes while it stops
            pass
        child.stdout.close()
        child.wait()
        state = self._installation.state
        kinship.end(lambda: [process for process in kinship.descendants() if _belongs(process, str(state))])
        kinship.end(lambda: kinship.marked(state))
        kinship.adopt_orphans(False)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.stop()


def _belongs(process: Any, state: str) -> bool:
    try:
        return bool(process.environ().get(kinship.MARK) == state)
    except Exception:  # gone, or its environment is closed to us: below us it can only be the platform's
        return True
