"""The snapshots that are unpacked on this machine, in the folders where Airflow keeps versions of a bundle.

::

    <bundle>/versions/<snapshot>/    the files; Airflow's own clean-up removes them by age and count
    <bundle>/records/<snapshot>      what was unpacked, and since which boot of the machine
    <bundle>/aside/<snapshot>/       being unpacked
    <bundle>/locks/<number>          held by who unpacks

A version appears by one rename. Whoever uses one holds Airflow's ``BundleVersionLock`` on it, so that the clean-up
leaves it alone. That clean-up deletes in place; should it be killed at that, or should the machine lose power before
everything was on its disk, the version is looked through before it is used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import (
    BundleVersionLock,
    get_bundle_base_folder,
    get_bundle_tracking_file,
    get_bundle_version_path,
)

if TYPE_CHECKING:
    from aerodrome.store import TeamStore

_LOCKS = 64


class Held:
    """A version that stays on this machine until :meth:`release`, at the latest until this process ends."""

    def __init__(self, root: Path, lock: Any) -> None:
        self.root = root
        self._lock = lock

    def release(self) -> None:
        """Let the clean-up have it."""
        self._lock.release()


def hold(bundle: str, snapshot: str, store: Callable[[], TeamStore]) -> Held:
    """Have `snapshot` unpacked on this machine, downloading it when it is not, and keep it.

    Any number of processes may ask at once: one downloads, the others wait for it.

    Args:
        bundle: Airflow's name of the bundle, which is the team's.
        store: opens the store; called only when the snapshot must be downloaded.

    Raises:
        StoreUnavailable, SnapshotMissing, SnapshotDamaged: as :meth:`aerodrome.store.TeamStore.download`.
        AerodromeError: this machine's disk refuses.
    """
    place = _Place(bundle, snapshot)
    while True:
        if not place.root.is_dir():
            place.unpack(store)
        place.doubt()
        lock = BundleVersionLock(bundle, snapshot)
        try:
            lock.acquire()
        except OSError as error:
            raise place.refused(error) from None
        if not place.locked(lock):
            lock.release()  # the clean-up was at it: begin again
            continue
        if place.intact():
            return Held(place.root, lock)
        lock.release()
        place.replace(store)


@contextlib.contextmanager
def unpacked(team: TeamStore, snapshot: str, *, bundle: str | None = None) -> Iterator[Path]:
    """The root folder of `snapshot`, unpacked on this machine, and kept while the context lasts.

    Args:
        bundle: Airflow's name of the bundle; default: the team's name.

    Raises:
        As :func:`hold`.
    """
    held = hold(bundle or team.name, snapshot, lambda: team)
    try:
        yield held.root
    finally:
        held.release()


class _Place:
    """Where one version is on this machine."""

    def __init__(self, bundle: str, snapshot: str) -> None:
        base = get_bundle_base_folder(bundle)
        self.snapshot = snapshot
        self.root = get_bundle_version_path(bundle, snapshot)
        self.tracking = get_bundle_tracking_file(bundle, snapshot)
        self._base = base
        self._records = base / "records"
        self._aside = base / "aside"
        self._locks = base / "locks"

    def doubt(self) -> None:
        """Note that files may be missing, when the clean-up may have had a go at the version.

        Must happen before the version is locked, which makes it look recently used.
        """
        limit = conf.getint("dag_processor", "stale_bundle_cleanup_age_threshold", fallback=21600)
        with contextlib.suppress(OSError):
            if time.time() - self.tracking.stat().st_mtime < limit:
                return
            if record := self._record():
                self._write_record({**record, "boot": None})

    def locked(self, lock: Any) -> bool:
        """Whether `lock` is on the file that the clean-up would ask for, and the version is there."""
        try:
            same = os.path.samestat(os.fstat(lock.lock_file.fileno()), self.tracking.stat())
        except OSError:
            return False
        if same and not self.root.is_dir():
            with contextlib.suppress(OSError):
                self.tracking.unlink()  # Airflow's clean-up, and the scheduler with it, fails at one without a version
            return False
        return same

    def intact(self) -> bool:
        """Whether nothing can have been lost of the version, or nothing has been."""
        record = self._record()
        if record is None:
            return False
        boot = _boot()
        if record["boot"] != boot:
            files, size = _measure(self.root)
            if files < record["files"] or size < record["size"]:
                return False
            with contextlib.suppress(OSError):
                self._write_record({**record, "boot": boot})
        return True

    def unpack(self, store: Callable[[], TeamStore]) -> None:
        """Download and unpack the version unless another process just did."""
        try:
            with self._alone(self.snapshot):
                if not self.root.is_dir():
                    self._tidy()
                    self._unpack(store())
        except OSError as error:
            raise self.refused(error) from error

    def replace(self, store: Callable[[], TeamStore]) -> None:
        """Download and unpack the version again, because files of it are lost."""
        try:
            with self._alone(self.snapshot):
                if self.intact():
                    return  # another process replaced it
                self._remove()
                self._unpack(store())
        except OSError as error:
            raise self.refused(error) from error

    def _unpack(self, team: TeamStore) -> None:
        from aerodrome.airflow.archive import BadArchive, unpack
        from aerodrome.store import SnapshotDamaged

        aside = self._aside / self.snapshot
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            with tempfile.TemporaryFile(dir=self._aside) as archive:
                team.download(self.snapshot, archive)
                archive.seek(0)
                content = unpack(archive, aside)
            self._write_record({"files": content.files, "size": content.size, "boot": _boot()})
            self.root.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(self.root)
        except BadArchive as error:
            raise SnapshotDamaged(
                f"team {team.name}: snapshot {self.snapshot} can not be unpacked: {error}",
                "Push a commit without it, or report this: Aerodrome should have refused that commit.",
            ) from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _remove(self) -> None:
        """Take the damaged version out of the way. Who is using it goes on with what he opened."""
        gone = self._aside / f"{self.snapshot}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        gone.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.root.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _tidy(self) -> None:
        """Remove what killed processes left aside, and records of versions that the clean-up removed."""
        for entry in self._entries(self._aside):
            snapshot = entry.name.removesuffix(".gone")
            if snapshot != self.snapshot and entry.is_dir():
                with contextlib.suppress(BlockingIOError), self._alone(snapshot, wait=False):
                    shutil.rmtree(entry, ignore_errors=True)
        for record in self._entries(self._records):
            if record.name != self.snapshot and not (self.root.parent / record.name).exists():
                with contextlib.suppress(OSError, BlockingIOError), self._alone(record.name, wait=False):
                    if not (self.root.parent / record.name).exists():
                        record.unlink()

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _alone(self, snapshot: str, *, wait: bool = True) -> Iterator[None]:
        """The one process of this machine that may make or remove `snapshot`; the lock ends with the process."""
        self._locks.mkdir(parents=True, exist_ok=True)
        # a fixed number of files, because a lock file can not be removed safely
        name = str(zlib.crc32(snapshot.encode()) % _LOCKS)
        with (self._locks / name).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads((self._records / self.snapshot).read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.keys() >= {"files", "size", "boot"} else None

    def _write_record(self, record: dict[str, object]) -> None:
        self._records.mkdir(parents=True, exist_ok=True)
        aside = self._records / f".{self.snapshot}.{os.getpid()}"
        aside.write_text(json.dumps(record))
        aside.replace(self._records / self.snapshot)

    def refused(self, error: OSError) -> Exception:
        """`error` of this machine's disk in words."""
        from aerodrome.errors import AerodromeError

        return AerodromeError(
            f"snapshot {self.snapshot} can not be unpacked to {self._base}: {error.strerror or error}",
            "Make room there, or set [dag_processor] dag_bundle_storage_path to a folder that this user can write.",
        )


def _measure(folder: Path) -> tuple[int, int]:
    """Files and links, and bytes in files, below `folder`; without what Python compiled."""
    files = size = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    below = _measure(Path(entry.path))
                    files, size = files + below[0], size + below[1]
                continue
            files += 1
            if entry.is_file(follow_symlinks=False):
                size += entry.stat(follow_symlinks=False).st_size
    return files, size


def _boot() -> str:
    """What tells one run of this machine from the next; "" where the system has no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
