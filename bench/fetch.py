"""One fresh worker: has the files of a pinned commit made ready by a bundle, and says how long it took. A program.

``python -m bench.fetch CLASSPATH WARM FETCHED STORE``: WARM and FETCHED are JSON of the bundle's arguments. The first
is fetched before the clock starts, so that both bundles have imported what they import (a standby worker has, too).
STORE is the folder whose files are counted when they are opened.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from airflow.sdk.module_loading import import_string


def main() -> None:
    """Measure as the command line says; print JSON."""
    kind = import_string(sys.argv[1])
    warm, measured = json.loads(sys.argv[2]), json.loads(sys.argv[3])
    opened: list[str] = []
    sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)
    begun = time.perf_counter()
    kind(**warm).initialize()
    first = time.perf_counter() - begun
    opened.clear()
    begun, cpu = time.perf_counter(), time.process_time()
    bundle = kind(**measured)
    bundle.initialize()
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    read = sum(Path(path).stat().st_size for path in opened if path.startswith(sys.argv[4]) and Path(path).is_file())
    files = sum(1 for path in Path(bundle.path).rglob("*") if path.is_file() and ".git" not in path.parts)
    print(json.dumps({"seconds": seconds, "cpu": used, "read": read, "files": files, "first": first}))


if __name__ == "__main__":
    main()
