"""Reading errors: which kind of finding a traceback is, where in the team's code, and what to do about it. Pure."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from aerodrome.gate.parsed import Ending, Policy, Surroundings
from aerodrome.store import Finding

KINDS = {
    "syntax-error": "a file that is not Python",
    "import-error": "an exception while a file is imported",
    "missing-package": "an import of something that is not installed",
    "missing-variable": "an Airflow variable that does not exist, read while a file is imported",
    "missing-connection": "an Airflow connection that does not exist, read while a file is imported",
    "database-error": "Airflow could not answer while a file was imported",
    "timeout": "a file that takes too long to import",
    "memory": "a file that needs too much memory to import",
    "output": "a file that writes without end while it is imported",
    "crash": "a file that ends its process",
    "lost": "a process that was ended from outside",
    "process-left": "a file that leaves processes behind",
    "invalid-dag": "a DAG that Airflow refuses: a cycle, an unknown executor, a wrong argument",
    "serialization": "a DAG that can not be serialized",
    "refused-by-database": "a DAG that Airflow's database can not hold",
    "duplicate-dag-id": "a dag_id that stands twice in the snapshot",
    "foreign-dag-id": "a dag_id that belongs to another team",
    "dag-id-prefix": "a dag_id without the team's prefix",
    "no-owner": "a DAG without an owner",
    "no-tags": "a DAG without tags",
    "no-description": "a DAG without a description",
    "no-doc": "a DAG without documentation",
    "no-dags": "a snapshot without a DAG",
}
"""Every kind of finding."""

FIRM = frozenset({"duplicate-dag-id", "foreign-dag-id", "refused-by-database"})
"""Kinds that ``gate.allow`` can not allow: one name can not stand for two DAGs."""

EXTERNAL = frozenset({"missing-package", "missing-variable", "missing-connection", "database-error", "timeout", "lost"})
"""Kinds whose cause may lie outside Git: judging again later may end otherwise."""

_FRAME = re.compile(r'^ *File "([^"\n]+)", line (\d+)', re.MULTILINE)
_LAST = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?$")
_VARIABLE = re.compile(r"VARIABLE_NOT_FOUND.*?'(?:key|message)': '(?:Variable )?([^']+?)(?: not found)?'")
_VARIABLE_KEY = re.compile(r"Variable ([^\s'\"]+) (?:does not exist|not found)")
_CONNECTION = re.compile(r"CONNECTION_NOT_FOUND.*?'conn_id': '([^']+)'|[Cc]onn_id [`'\"]([^`'\"]+)[`'\"] isn't defined")
_MODULE = re.compile(r"No module named '([^']+)'")
_NETWORK = frozenset(
    {"ConnectionError", "ConnectionRefusedError", "ConnectionResetError", "BrokenPipeError", "TimeoutError", "gaierror"}
    | {"ConnectTimeout", "ReadTimeout", "ConnectError", "OperationalError", "InterfaceError", "EndpointConnectionError"}
)
_LONGEST = 2000


@dataclass(frozen=True)
class Place:
    """Where in the team's files; `line` counts from 1."""

    file: str
    line: int | None = None


def read_error(file: str, text: str, root: str, policy: Policy, around: Surroundings) -> tuple[Finding, bool]:
    """The finding that an error of Airflow's is, and whether its cause may lie outside Git.

    Args:
        file: the DAG file.
        text: traceback or one line.
        root: folder of the snapshot in the traceback.
    """
    place = innermost(text, root) or Place(file)
    name, message = exception(text)
    message = message.replace(root.rstrip("/") + "/", "")
    whole = f"{name}: {message}" if message else name
    where = "" if place.file == file else f" (imported by {file})"

    def found(kind: str, remedy: str, said: str = "") -> tuple[Finding, bool]:
        external = kind in EXTERNAL or name.rpartition(".")[2] in _NETWORK
        said = _cut(said or whole)
        return Finding(kind=kind, file=place.file, line=place.line, message=said + where, remedy=remedy), external

    if name in ("SyntaxError", "IndentationError", "TabError"):
        return found("syntax-error", f"Mend the line; `python -m py_compile {place.file}` shows the same.")
    if name.endswith("AirflowTaskTimeout"):
        return found(
            "timeout",
            f"Do the slow work (network, database, big files) inside a task, or raise gate.timeout of team "
            f"{around.team}.",
            f"importing the file took longer than {policy.timeout:g} s",
        )
    if name in ("ModuleNotFoundError", "ImportError") and (module := _MODULE.search(message)):
        return found("missing-package", _missing_package(module[1], around))
    if variable := _VARIABLE.search(message) or _VARIABLE_KEY.search(message):
        return found("missing-variable", _missing_variable(variable[1]), f"there is no Airflow variable {variable[1]}")
    if connection := _CONNECTION.search(message):
        conn = connection[1] or connection[2]
        return found("missing-connection", _missing_connection(conn), f"there is no Airflow connection {conn}")
    if "API_SERVER_ERROR" in message:
        return found("database-error", "Nothing, if Airflow's database was just away: it is judged again by itself.")
    if name == "MemoryError":
        return found(
            "memory",
            f"Load data inside a task, or raise gate.memory of team {around.team}.",
            f"importing the file takes more memory than gate.memory allows ({_size(policy.memory)})",
        )
    if name == "AirflowDagDuplicatedIdException":
        return found("duplicate-dag-id", "Rename all but one of them.")
    if "/airflow/serialization/" in text or name.endswith("SerializationError"):
        return found("serialization", "Give operators and DAGs only values that can be written as JSON.")
    if "Traceback" not in text:
        return found("invalid-dag", "Mend the DAG.")
    return found("import-error", "Mend the code; `aerodrome check` on your work tree shows the same.")


def read_ending(file: str, ending: Ending, root: str, policy: Policy, around: Surroundings) -> tuple[Finding, bool]:
    """The finding that the end of a file's process is, and whether its cause may lie outside Git."""
    # faulthandler writes the innermost frame first
    place = innermost(ending.trace, root, first=True) or Place(file)
    where = "" if place.file == file else f" (imported by {file})"
    last = ending.stderr.strip().splitlines()[-1:] or [""]
    said = f"; its last words: {_cut(last[0], 300)}" if last[0] else ""
    match ending.how:
        case "time":
            kind = "timeout"
            message = f"importing the file did not end within {policy.timeout:g} s and 30 s more"
            remedy = f"Do the slow work inside a task, or raise gate.timeout of team {around.team}."
        case "memory":
            kind = "memory"
            message = f"importing the file takes more memory than gate.memory allows ({_size(policy.memory)})"
            remedy = f"Load data inside a task, or raise gate.memory of team {around.team}."
        case "output":
            kind, message = "output", "importing the file writes without end"
            remedy = "Remove the output from the top level of the file."
        case "lost":
            kind, message = "lost", "the process that imported the file was ended from outside"
            remedy = "Nothing: it is judged again by itself."
        case "signal" if ending.number == signal.SIGKILL:
            kind = "lost"
            message = f"the process that imported the file was killed (SIGKILL){said}"
            remedy = "Look whether the machine ran out of memory; it is judged again by itself."
        case "signal":
            kind, message = "crash", f"importing the file ends its process: {_signal(ending.number)}{said}"
            remedy = "Look for the compiled library in whose code this happens, and import it inside a task."
        case "exit":
            kind = "crash"
            message = f"importing the file ends its process: exit code {ending.number}{said}"
            remedy = "Remove what ends the process (os._exit) from the top level of the file."
    finding = Finding(kind=kind, file=place.file, line=place.line, message=message + where, remedy=remedy)
    return finding, kind in EXTERNAL


def innermost(text: str, root: str, *, first: bool = False) -> Place | None:
    """The innermost place of a traceback that lies in the snapshot at `root`; None when none does.

    Args:
        first: the innermost frame stands first, not last.
    """
    prefix = root.rstrip("/") + "/"
    frames = [(path, int(line)) for path, line in _FRAME.findall(text) if path.startswith(prefix)]
    if not frames:
        return None
    path, line = frames[0 if first else -1]
    return Place(path[len(prefix) :], line)


def exception(text: str) -> tuple[str, str]:
    """Name and message of the exception that `text`, a traceback or one line, ends with."""
    lines = text.strip().splitlines()
    for index in range(len(lines) - 1, -1, -1):
        match = _LAST.match(lines[index])
        if match and (match[2] is not None or index == len(lines) - 1):
            # a name as in "airflow.exceptions.X" or "ValueError"; a sentence of several words is none
            rest = [match[2] or "", *lines[index + 1 :]]
            return match[1].rpartition(".")[2], "\n".join(rest).strip()
        if lines[index].startswith(("  File ", "Traceback ")):
            break
    return "Error", lines[-1].strip() if lines else ""


def _missing_package(module: str, around: Surroundings) -> str:
    top = module.partition(".")[0]
    if (folder := around.folders.get(top)) is not None:
        shown = folder or "."
        return (
            f"{top} is in the repository's folder {shown}: add it to imports of team {around.team} "
            f"(now: {', '.join(part or '.' for part in around.imports)})."
        )
    if around.shared:
        return (
            f"Install the package that holds {top}: {around.interpreter} -m pip install ... "
            "On one machine all teams share this interpreter."
        )
    return f"Add the package that holds {top} to the image of team {around.team}."


def _missing_variable(key: str) -> str:
    return (
        f"Create the variable {key} in Airflow (Admin, Variables) or set AIRFLOW_VAR_{key.upper()}; better, read it "
        "inside a task or a template. While files are parsed Airflow finds only variables that belong to no team. "
        "It is judged again by itself."
    )


def _missing_connection(conn: str) -> str:
    return (
        f"Create the connection {conn} in Airflow (Admin, Connections) or set AIRFLOW_CONN_{conn.upper()}; better, use "
        "it inside a task. While files are parsed Airflow finds only connections that belong to no team. "
        "It is judged again by itself."
    )


def _signal(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"


def _size(count: int) -> str:
    return f"{count / (1 << 30):g} GiB" if count >= 1 << 30 else f"{count / (1 << 20):g} MiB"


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
