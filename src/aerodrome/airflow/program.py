"""How Aerodrome's programs on Airflow's side are told what to do, and how they end."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def options_of_team(program: str, description: str | None) -> argparse.ArgumentParser:
    """The options of a service of one team."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--team", required=True)
    parser.add_argument("-c", "--config", type=Path, default=Path(os.environ.get("AERODROME_CONFIG", "aerodrome.yaml")))
    parser.add_argument("--state", type=Path, default=os.environ.get("AERODROME_STATE"))
    return parser


def run(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end the process with its exit code.

    Everything is written by then: what Airflow and the interpreter do at exit only takes time (0.5 s), and complains
    of connections of another thread.
    """
    code = 1
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
