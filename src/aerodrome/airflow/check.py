"""The gate on a folder: ``python -m aerodrome.airflow.check ROOT --team TEAM -c FILE``, the engine of ``check``.

Parses and judges as a team's processor does (the same warm parent, the same children, the same gate), without a
platform: there is no database and nobody else's dag_ids, and what the environment does not have does not exist.

Prints JSON: ``passed``, ``findings``, ``dag_ids``, ``files`` (DAG files), ``seconds``. Exit code 0 whatever the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aerodrome.airflow import program
from aerodrome.config.airflow_settings import PARSE_GRACE
from aerodrome.errors import AerodromeError

if TYPE_CHECKING:
    from aerodrome.airflow.collect import Outcome
    from aerodrome.airflow.parse import Nursery, ParseProcess
    from aerodrome.config import Team


def main(argv: list[str] | None = None) -> int:
    """Judge the folder and print the verdict."""
    parser = argparse.ArgumentParser(prog="aerodrome.airflow.check", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--team", required=True)
    parser.add_argument("-c", "--config", type=Path, required=True)
    options = parser.parse_args(argv)
    answer = os.dup(1)
    os.dup2(2, 1)  # what Airflow and its children have to say is no answer
    try:
        verdict = _check(options.root.absolute(), options.team, options.config)
    except AerodromeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    with open(answer, "w") as out:  # noqa: PTH123 - a descriptor
        json.dump(verdict, out)
    return 0


def _check(root: Path, name: str, config: Path) -> dict[str, Any]:
    from aerodrome.airflow import environment, subreaper
    from aerodrome.config.airflow_settings import environment as settings
    from aerodrome.config.installation import Installation

    began = time.monotonic()
    installation = Installation.open(config)
    team = installation.config.team(name)
    environment.hide(installation.config)
    os.environ.update(settings(installation, "processor", team=team))
    os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH"] = "100"  # the whole way to an error
    subreaper.hide_memory()

    import airflow.settings  # noqa: F401 - the warm parent shares it
    from airflow.configuration import conf
    from airflow.utils.file import list_py_file_paths

    from aerodrome.airflow.golive import judgement
    from aerodrome.airflow.parse import Nursery

    nursery = Nursery(os.environ)
    nursery.fork()
    try:
        folder = root / team.dags
        safe = conf.getboolean("core", "dag_discovery_safe_mode")
        found = list_py_file_paths(folder, safe_mode=safe) if folder.is_dir() else []
        files = sorted(str(Path(path).relative_to(folder)) for path in found)
        outcomes = _Parsing(nursery, team, root).parse(files)
    finally:
        nursery.close()
    judged = judgement(team, root, outcomes, owners={}, refused={}, shared=True)
    return {
        "passed": judged.passed,
        "findings": [finding.model_dump(mode="json") for finding in judged.findings],
        "dag_ids": list(judged.dag_ids),
        "files": judged.files,
        "seconds": round(time.monotonic() - began, 3),
    }


class _Parsing:
    """Parses files of one folder, some at once."""

    def __init__(self, nursery: Nursery, team: Team, root: Path) -> None:
        from aerodrome.airflow.answers import from_nothing

        self._nursery = nursery
        self._team = team
        self._root = root
        self._answers = from_nothing()
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, ParseProcess] = {}
        self._attempts: dict[str, int] = {}
        nursery.watch(self._selector)

    def parse(self, files: Sequence[str]) -> list[Outcome]:
        """What parsing each of `files` came to; names are relative to the DAG folder."""
        waiting, outcomes = list(reversed(files)), []
        at_once = os.cpu_count() or 1
        while waiting or self._running:
            while waiting and len(self._running) < at_once:
                path = waiting.pop()
                self._running[path] = self._start(path)
            self._serve()
            for path in [path for path, process in self._running.items() if process.is_ready]:
                process = self._running.pop(path)
                outcome = self._outcome(path, process)
                process.close()
                if outcome is None:
                    waiting.append(path)
                else:
                    outcomes.append(outcome)
        return outcomes

    def _start(self, path: str) -> ParseProcess:
        import structlog
        from uuid6 import uuid7

        from aerodrome.airflow.parse import ParseProcess

        self._attempts[path] = self._attempts.get(path, 0) + 1
        nowhere = open(os.devnull, "w")  # noqa: SIM115, PTH123 - closed with the process
        folder = self._root / self._team.dags
        return ParseProcess.start(
            nursery=self._nursery,
            root=self._root,
            imports=self._team.imports,
            memory=self._team.gate.memory,
            id=uuid7(),
            path=folder / path,
            bundle_path=folder,
            bundle_name=self._team.name,
            dag_file_rel_path=path,
            callbacks=[],
            selector=self._selector,
            logger=structlog.wrap_logger(
                structlog.WriteLogger(nowhere), processors=[structlog.processors.JSONRenderer()]
            ),
            logger_filehandle=nowhere,
            client=self._answers,
        )

    def _serve(self) -> None:
        """Handle what children say, and end those that are over their time."""
        for key, _ in self._selector.select(timeout=0.5):
            handler, on_close = key.data
            try:
                more = handler(key.fileobj)
            except (BrokenPipeError, ConnectionResetError):
                more = False
            if not more:
                on_close(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        for process in self._running.values():
            process.enforce(self._team.gate.timeout + PARSE_GRACE)

    def _outcome(self, path: str, process: ParseProcess) -> Outcome | None:
        """None: its process was ended from outside, and it is parsed again."""
        from aerodrome.airflow.collect import outcome
        from aerodrome.airflow.parse import ATTEMPTS

        if process.was_lost() and self._attempts[path] < ATTEMPTS:
            return None
        return outcome(
            path,
            folder=self._team.dags,
            root=self._root,
            result=process.parsing_result,
            ending=process.ending(),
            left=process.tracker.left,
            seconds=time.monotonic() - process.start_time,
        )


if __name__ == "__main__":
    program.run(main)
