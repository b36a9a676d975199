"""Task logs in the store: one object for each finished attempt, below ``logs/`` at Airflow's relative log path.

Airflow finds this through ``[logging] logging_config_class``, whose module may hold ``REMOTE_TASK_LOG``
(``airflow/_shared/logging/remote.py``). Every process of Airflow imports it at its start, so that nothing is opened
before it is used.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf

if TYPE_CHECKING:
    from aerodrome.store import Store

log = logging.getLogger(__name__)

LOGGING_CONFIG: dict[str, Any] = DEFAULT_LOGGING_CONFIG
"""Airflow's own; it stands here because Airflow looks for :data:`REMOTE_TASK_LOG` beside it."""

_PAUSES = (1.0, 3.0)  # seconds between attempts at an upload, which happens once, after the task


class StoreLog:
    """Airflow's ``RemoteLogStreamIO`` over the store.

    Args:
        url: URL of the store.
        options: its options, secrets as places (:func:`aerodrome.secrets.resolve`).
        folder: where Airflow writes logs on this machine.
    """

    processors: tuple[Any, ...] = ()

    def __init__(self, url: str, options: dict[str, Any], folder: Path) -> None:
        self._url = url
        self._options = options
        self._folder = folder

    @cached_property
    def _store(self) -> Store:
        from aerodrome.secrets import resolve
        from aerodrome.store import Store

        return Store(self._url, resolve(self._options))

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Put the log of an attempt that ended into the store, after what an earlier part of the attempt put there.

        Raises:
            StoreUnavailable: the store could not be written; the file stays where it is.
        """
        from aerodrome.store import StoreUnavailable

        file = self._folder / path
        relative = file.relative_to(self._folder)
        for pause in (*_PAUSES, None):
            try:
                self._put(f"logs/{relative.as_posix()}", file)
                break
            except StoreUnavailable:
                if pause is None:
                    raise
            time.sleep(pause)
        if conf.getboolean("logging", "delete_local_logs", fallback=False):
            file.unlink(missing_ok=True)

    def stream(self, relative_path: str, ti: Any) -> tuple[list[str], list[Generator[str, None, None]]]:
        """Where the logs of an attempt are (its own, and those of its triggers), and their lines."""
        from aerodrome.errors import AerodromeError

        prefix = f"logs/{relative_path}"
        try:
            keys = [key for key in self._store.list(prefix.rpartition("/")[0]) if key.startswith(prefix)]
        except (AerodromeError, ValueError) as error:
            # what Airflow has elsewhere of the log must still be shown
            return [" ".join(str(error).split("\n"))], []
        return [f"{self._store.url}/{key}" for key in keys], [self._lines(key) for key in keys]

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str] | None]:
        """The same, each log as one string."""
        sources, streams = self.stream(relative_path, ti)
        return sources, ["\n".join(lines) for lines in streams] or None

    def _put(self, key: str, file: Path) -> None:
        """Upload `file`; where the attempt went on elsewhere (deferred, rescheduled), its log goes on as well."""
        if not file.exists():
            return
        size = self._store.size(key)
        chunks = self._store.chunks(key) if size else None
        if chunks is None or _begins_with(file, chunks):
            self._store.upload(key, file)
            return
        with tempfile.NamedTemporaryFile() as whole:
            for chunk in self._store.chunks(key) or ():
                whole.write(chunk)
            with file.open("rb") as more:
                shutil.copyfileobj(more, whole)
            whole.flush()
            self._store.upload(key, Path(whole.name))

    def _lines(self, key: str) -> Generator[str, None, None]:
        from aerodrome.errors import AerodromeError

        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        try:
            for chunk in self._store.chunks(key) or ():
                *lines, rest = (rest + decoder.decode(chunk)).split("\n")
                yield from lines
            rest += decoder.decode(b"", final=True)
        except AerodromeError as error:
            yield rest
            rest = f"The rest of this log could not be read: {' '.join(str(error).split(chr(10)))}"
        if rest:
            yield rest


def _begins_with(file: Path, chunks: Generator[bytes, None, None]) -> bool:
    with contextlib.closing(chunks), file.open("rb") as content:
        return all(content.read(len(chunk)) == chunk for chunk in chunks)


def _remote_task_log() -> StoreLog | None:
    url = os.environ.get("AERODROME_STORE")
    if not url:
        return None
    options = json.loads(os.environ.get("AERODROME_STORE_OPTIONS") or "{}")
    return StoreLog(url, options, Path(conf.get_mandatory_value("logging", "base_log_folder")))


REMOTE_TASK_LOG = _remote_task_log()
