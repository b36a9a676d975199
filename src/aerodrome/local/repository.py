"""Git repositories that Aerodrome writes itself: the starter's and the samples'."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from aerodrome import process
from aerodrome.errors import AerodromeError

SAMPLES = Path(__file__).with_name("samples")
_TIMEOUT = 60.0
_AUTHOR = {"name": "Aerodrome", "email": "aerodrome@localhost"}


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`. Returns what it printed.

    Raises:
        AerodromeError: there is no git, or it failed.
    """
    known = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = process.run(["git", "-C", str(folder), *arguments], timeout=_TIMEOUT, env=known)
    except FileNotFoundError:
        raise AerodromeError("there is no git on this machine", "Install it: apt-get install git.") from None
    except process.TimedOut as error:
        raise AerodromeError(str(error), f"Look at {folder}.") from None
    if done.code != 0:
        raise AerodromeError(
            f"git {arguments[0]} failed in {folder}: {done.error}", "Look at what git says, and try again."
        )
    return done.stdout.decode(errors="replace").strip()


def create(folder: Path, sample: str) -> None:
    """Make `folder` a Git repository with the files of `sample`, committed on the branch ``main``.

    Raises:
        AerodromeError: git failed.
    """
    shutil.copytree(SAMPLES / sample, folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "Begin")


def commit(folder: Path, message: str) -> str:
    """Commit everything in `folder`, as the user where git knows one. Returns the commit."""
    git(folder, "add", "--all")
    author = [
        option
        for key, value in _AUTHOR.items()
        if not _known(folder, f"user.{key}")
        for option in ("-c", f"user.{key}={value}")
    ]
    git(folder, *author, "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def _known(folder: Path, key: str) -> bool:
    try:
        return bool(git(folder, "config", "--get", key))
    except AerodromeError:
        return False
