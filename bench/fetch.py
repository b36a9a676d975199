"""One fresh worker: has the files of a pinned commit made ready by a bundle, and says how long it took. A program.

``python -m bench.fetch CLASSPATH WARM FETCHED``: both are JSON of the bundle's arguments. The first is fetched before
the clock starts, so that both bundles have imported what they import (a standby worker has, too).
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
    begun = time.perf_counter()
    kind(**warm).initialize()
    first = time.perf_counter() - begun
    read, begun, cpu = _read(), time.perf_counter(), time.process_time()
    bundle = kind(**measured)
    bundle.initialize()
    seconds, used, read = time.perf_counter() - begun, time.process_time() - cpu, _read() - read
    files = sum(1 for path in Path(bundle.path).rglob("*") if path.is_file() and ".git" not in path.parts)
    print(json.dumps({"seconds": seconds, "cpu": used, "read": read, "files": files, "first": first}))


def _read() -> int:
    """Bytes that this process has read so far, from whatever."""
    return int(Path("/proc/self/io").read_text().split()[1])


if __name__ == "__main__":
    main()
