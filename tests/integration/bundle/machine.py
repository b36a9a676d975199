"""A process that has imported Airflow and forks a child for each request, as Airflow's own executors do.

``python machine.py SOCKET``. A request is one line of JSON on a new connection: a function of ``inside.py`` and its
arguments. The child answers with its process id, then with the result; it ends when its standard input does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path


def main(address: str) -> None:
    spec = importlib.util.spec_from_file_location("inside", Path(__file__).with_name("inside.py"))
    assert spec and spec.loader
    inside = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inside)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(200)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        with connection, connection.makefile("rw") as stream:
            request = json.loads(stream.readline())
            print(json.dumps({"process": os.getpid()}), file=stream, flush=True)
            try:
                answer = {"result": getattr(inside, request["function"])(**request["arguments"])}
            except BaseException as error:
                traceback.print_exc()
                answer = {"error": type(error).__name__, "says": str(error)}
            print(json.dumps(answer), file=stream, flush=True)
        os._exit(0)


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    # started as a program of its own: threads before forks only wait
    import warnings

    warnings.simplefilter("ignore")
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(sys.argv[1])
