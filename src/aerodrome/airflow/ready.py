"""How a service says that it works: by the file that ``AERODROME_READY`` names, if it names one."""

from __future__ import annotations

import os
from pathlib import Path


def announce() -> None:
    """This process does its work from now on."""
    if path := os.environ.get("AERODROME_READY"):
        Path(path).touch()
