"""GitDagBundles as a dag-processor keeps them: each line on stdin refreshes all, and is answered. A program.

``python -m bench.refresh URL...``: answers are JSON with the seconds and the CPU seconds of one round, git's included.
"""

from __future__ import annotations

import json
import os
import sys
import time

from airflow.providers.git.bundles.git import GitDagBundle


def main() -> None:
    """Serve until stdin closes."""
    bundles = [
        GitDagBundle(name=f"bundle_{number:03}", repo_url=url, tracking_ref="main")
        for number, url in enumerate(sys.argv[1:])
    ]
    for bundle in bundles:
        bundle.initialize()
    print(json.dumps({"bundles": len(bundles)}), flush=True)
    for _ in sys.stdin:
        begun, before = time.perf_counter(), _cpu()
        for bundle in bundles:
            bundle.refresh()
        print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": _cpu() - before}), flush=True)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
