"""The state folder: everything that one machine keeps for one installation, and nothing outside of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aerodrome.errors import AerodromeError

# A Unix socket's path must fit into 108 bytes with its end (sockaddr_un); PostgreSQL adds "/.s.PGSQL.5432.lock".
_LONGEST_SOCKET_FOLDER = 86


@dataclass(frozen=True)
class State:
    """Places inside the state folder.

    Args:
        folder: the state folder, absolute.
    """

    folder: Path

    @property
    def logs(self) -> Path:
        """One file for each component."""
        return self.folder / "logs"

    @property
    def secrets(self) -> Path:
        """Keys that Aerodrome makes itself, each in a file of mode 0600."""
        return self.folder / "secrets"

    @property
    def passwords(self) -> Path:
        """Passwords of the simple auth manager's users, in the JSON that Airflow reads; mode 0600."""
        return self.secrets / "passwords.json"

    @property
    def airflow(self) -> Path:
        """Airflow's home."""
        return self.folder / "airflow"

    @property
    def bundles(self) -> Path:
        """Unpacked snapshots."""
        return self.folder / "bundles"

    @property
    def database(self) -> Path:
        """PostgreSQL's data."""
        return self.folder / "postgres"

    @property
    def ports(self) -> Path:
        """The ports that were chosen, as JSON."""
        return self.folder / "ports.json"

    @property
    def settings(self) -> Path:
        """What scheduler and api-server read again when teams change (:mod:`aerodrome.airflow.component`)."""
        return self.folder / "run" / "settings.json"

    @property
    def prepared(self) -> Path:
        """Is there while the database of the running platform is set up."""
        return self.folder / "run" / "prepared"

    @property
    def sockets(self) -> Path:
        """Folder of the Unix sockets: ``run`` in the state folder, or a short one of this user when that is too long.

        Raises:
            AerodromeError: the short one belongs to somebody else.
        """
        folder = self.folder / "run"
        if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER:
            return folder
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        folder = Path(base) / f"aerodrome-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o711, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise AerodromeError(f"{folder} belongs to another user", "Choose a state folder with a shorter path.")
        return folder

    @property
    def control(self) -> Path:
        """Unix socket of the supervisor."""
        return self.sockets / "control"

    def make(self) -> None:
        """Make the folders. The state is for this user alone, except that the database's user must get through.

        Raises:
            AerodromeError: a folder can not be made.
        """
        try:
            for folder, mode in (
                (self.folder, 0o711),
                (self.folder / "run", 0o711),
                (self.logs, 0o700),
                (self.secrets, 0o700),
                (self.airflow, 0o700),
                (self.bundles, 0o700),
            ):
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
            ignore = self.folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise AerodromeError(
                f"the state folder {self.folder} can not be used: {error.strerror}",
                "Name a folder that you may write to: --state DIR.",
            ) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the installation: one supervisor for one state folder. The kernel lets go of it when the process ends.

        Raises:
            AerodromeError: another process holds it.
        """
        with (self.folder / "run" / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AerodromeError(
                    f"the platform in {self.folder} is being started or stopped by another command",
                    "Wait for it, or look with 'aerodrome status'.",
                ) from None
            yield


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all, readable for this user only."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.touch(0o600)
    aside.write_text(text)
    aside.replace(path)
