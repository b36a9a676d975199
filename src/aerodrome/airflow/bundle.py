"""Airflow's view of a team's snapshots: a DAG bundle whose versions are snapshots in the store.

Airflow makes and asks bundles on every task's way, so that this module imports what it needs only when a snapshot must
really be downloaded.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from aerodrome.airflow.imports import import_paths, runs_team_code, use
from aerodrome.airflow.versions import Held, hold, unpacked

if TYPE_CHECKING:
    from aerodrome.store import TeamStore

__all__ = ["SnapshotBundle", "import_paths", "unpacked", "use"]

log = logging.getLogger(__name__)

_PATIENCE = 60.0  # seconds for which a task waits for a store that can not be read

_kept: list[Held] = []
"""What this process runs the code of: kept until it ends."""


class SnapshotBundle(BaseDagBundle):
    """The snapshots of one team. A version is a snapshot's id; without one it is what is live.

    Args:
        store: URL of the store.
        store_options: options of the store, secrets as places (:func:`aerodrome.secrets.resolve`).
        team: the team's name; default: the bundle's name.
        dags: folder of the DAG files, relative to the repository's root.
        imports: folders for ``sys.path``, relative to the root; default: the root and `dags`.
        commit_url: page of a commit at the forge, with ``{commit}`` in place of the commit.
        options: Airflow's own arguments of a bundle.
    """

    supports_versioning = True

    def __init__(
        self,
        *,
        store: str,
        store_options: Mapping[str, str | Mapping[str, str]] | None = None,
        team: str | None = None,
        dags: str = "",
        imports: Sequence[str] | None = None,
        commit_url: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.team = team or self.name
        self._store = store
        self._store_options = store_options or {}
        self._dags = dags
        self._imports = tuple(imports) if imports is not None else ("", dags)
        self._commit_url = commit_url
        self._follows = self.version is None
        self._team_store: TeamStore | None = None

    def initialize(self) -> None:
        """Have the version on this machine; in a process that runs the team's code, make its modules importable.

        Raises:
            StoreUnavailable, SnapshotMissing, SnapshotDamaged, AerodromeError: as :func:`versions.hold`. In the process
                of a task or callback each of them is one line in its log and the end of the process.
        """
        if not runs_team_code():
            self._take()
        else:
            try:
                self._take_patiently()
            except Exception as error:
                self._end_child(error)
                raise
        super().initialize()

    def fetch(self) -> None:
        """Have the version on this machine, before :meth:`initialize` has its code run.

        Raises:
            StoreUnavailable, SnapshotMissing, SnapshotDamaged, AerodromeError: as :func:`versions.hold`.
        """
        if self.version is not None:
            hold(self.name, self.version, self._open).release()

    @property
    def path(self) -> Path:
        """Folder of the DAG files. Of a team without a live snapshot, it is an empty one."""
        return self._root() / self._dags if self._dags else self._root()

    def get_current_version(self) -> BundleVersion | None:
        """The version that `path` is of; None while the team waits for its first snapshot."""
        return BundleVersion(self.version) if self.version else None

    def refresh(self) -> None:
        """Follow what is live; nothing changes when the store can not be read.

        Raises:
            StoreUnavailable: the store can not be read.
            ValueError: the bundle is of one version.
        """
        if not self._follows:
            raise ValueError("a bundle of one version has nothing to refresh")
        self._take()

    def view_url_template(self) -> str | None:
        """The page of the version's commit, or what the bundle's configuration says."""
        if self._view_url_template or not self._commit_url:
            return self._view_url_template
        # Airflow fills in the version, which may have the digits of the settings after the commit's 40
        return self._commit_url.replace("{commit}", "{version!s:.40}")

    def _root(self) -> Path:
        return self.versions_dir / self.version if self.version else self.base_dir / "waiting"

    def _open(self) -> TeamStore:
        if self._team_store is None:
            from aerodrome.store import Store

            options: Mapping[str, str] = {}
            if self._store_options:
                from aerodrome.secrets import resolve

                options = resolve(self._store_options)
            self._team_store = Store(self._store, options).team(self.team)
        return self._team_store

    def _take(self) -> None:
        if self._follows:
            current = self._open().current()
            if current is None:
                log.info("Team %s waits for the first commit that passes its gate", self.team)
                (self.base_dir / "waiting" / self._dags).mkdir(parents=True, exist_ok=True)
                return
            self.version = current.snapshot
        assert self.version is not None
        held = hold(self.name, self.version, self._open)
        if not runs_team_code():
            # Whoever runs it holds it in his own process; until then its fresh age keeps the clean-up away.
            held.release()
            return
        _kept.append(held)
        use(held.root, self._imports)

    def _take_patiently(self) -> None:
        deadline, pause = time.monotonic() + _PATIENCE, 0.5
        while True:
            try:
                return self._take()
            except Exception as error:
                from aerodrome.errors import Temporary

                if not isinstance(error, Temporary) or time.monotonic() + pause > deadline:
                    raise
                log.warning("%s Trying again in %g s.", " ".join(str(error).split("\n")), pause)
            time.sleep(pause)
            pause = min(pause * 2, 10)

    def _end_child(self, error: Exception) -> None:
        """End the process of a task as Airflow itself does when it finds no DAG: with a line, without a traceback."""
        from airflow.sdk.execution_time.comms import CommsDecoder

        from aerodrome.errors import AerodromeError

        runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
        if isinstance(error, AerodromeError) and isinstance(getattr(runner, "SUPERVISOR_COMMS", None), CommsDecoder):
            log.error("%s", " ".join(str(error).split("\n")))
            sys.exit(1)
