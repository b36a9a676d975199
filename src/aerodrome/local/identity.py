"""Who PostgreSQL runs as when the user is root, which it refuses to be.

Nothing on the machine is changed for it: no user is made, no folder opened to others. It runs under a number that no
user has (from systemd's range for such services), owns its data folder only, and where a folder above is closed to
others (``/root``), it keeps the one Linux capability that lets it pass. (The library that brings PostgreSQL would make
a user and open every folder up to the root of the file system.)
"""

from __future__ import annotations

import ctypes
import os
import pwd
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from aerodrome.errors import AerodromeError

# https://systemd.io/UIDS-GIDS/: DynamicUser= takes 61184 to 65519
_FIRST, _LAST = 61184, 65519
_PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 28, 47, 2
_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH, _CAP_SETPCAP = 1, 2, 8
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@dataclass(frozen=True)
class Identity:
    """A user id to run under, its group the same number.

    Args:
        uid: the user id.
        capability: number of the Linux capability that is kept; None for none.
    """

    uid: int
    capability: int | None = None

    def assume(self) -> Callable[[], None]:
        """For a child between fork and exec: become this identity. Everything it needs is made beforehand."""
        header = _Header(_CAPABILITY_VERSION_3, 0)
        data = (_Data * 2)()
        if self.capability is not None:
            data[0].effective = data[0].permitted = data[0].inheritable = 1 << self.capability

        def become() -> None:
            if self.capability is not None:
                # access(2), by which initdb looks for its programs, heeds no capability of an ordinary user otherwise
                _check(_libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0))
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
            if self.capability is not None:
                _check(_libc.capset(ctypes.byref(header), data))
                _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, self.capability, 0, 0))

        return become


def of_database(data: Path, reaches: Iterable[Path]) -> Identity | None:
    """The identity that PostgreSQL runs under; None: the user's own.

    Args:
        data: its data folder; who owns it already stays its owner.
        reaches: files and folders that it must get to.

    Raises:
        AerodromeError: the user is root without the right to become somebody else who gets there.
    """
    if os.geteuid() != 0:
        return None
    uid = data.stat().st_uid if data.exists() else 0
    if uid == 0:
        uid = _FIRST + zlib.crc32(os.fsencode(data)) % (_LAST - _FIRST + 1)
    closed = next((folder for path in reaches for folder in path.absolute().parents if not _passable(folder)), None)
    if closed is None:
        return Identity(uid)
    permitted = _permitted()
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if permitted >> capability & permitted >> _CAP_SETPCAP & 1:
            return Identity(uid, capability)
    raise AerodromeError(
        f"PostgreSQL does not run as root, and other users can not pass {closed}",
        "Run Aerodrome as an ordinary user, or keep project and state in a folder that others may pass.",
    )


def with_a_name(identity: Identity) -> Identity:
    """As `identity`, but a user that has a name, which only ``initdb`` insists on."""
    try:
        return Identity(pwd.getpwnam("nobody").pw_uid, identity.capability)
    except KeyError:
        named = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid), None)
    if named is None:
        raise AerodromeError(
            "PostgreSQL does not run as root, and this machine has no other user",
            "Make a user (useradd aerodrome) and run Aerodrome as that one.",
        )
    return Identity(named, identity.capability)


def give(folder: Path, identity: Identity) -> None:
    """Make `identity` the owner of `folder` and of everything in it."""
    os.chown(folder, identity.uid, identity.uid)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), identity.uid, identity.uid, follow_symlinks=False)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _passable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _permitted() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    except OSError:
        pass
    return 0
