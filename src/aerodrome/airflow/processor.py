"""A team's processor: ``python -m aerodrome.airflow.processor --team TEAM -c FILE --state DIR``.

Airflow's dag-processor with another idea of what to parse, and when: a snapshot at a time, each file once, and the
gate before the database. See :mod:`aerodrome.airflow.manager` for the loop.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

from aerodrome.airflow import program
from aerodrome.airflow.database_url import asynchronous
from aerodrome.errors import AerodromeError

log = logging.getLogger("aerodrome.processor")


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM, or with ``--once`` until there is nothing left to do.

    Returns:
        0; with ``--once`` 1 when the team's newest snapshot is refused.
    """
    options = _options(argv)
    try:
        return _run(options)
    except AerodromeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    from aerodrome.airflow import environment, ready, subreaper
    from aerodrome.config.airflow_settings import environment as settings
    from aerodrome.config.installation import Installation

    installation = Installation.open(options.config, options.state)
    team = installation.config.team(options.team)
    secrets = environment.hide(installation.config)
    for name, value in settings(installation, "processor", team=team).items():
        os.environ.setdefault(name, value)
    # The gate shows the whole way to an error; Airflow's default is the last two steps.
    os.environ.setdefault("AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH", "100")
    subreaper.hide_memory()
    children = dict(os.environ)

    import airflow.settings  # noqa: F401 - the warm parent shares it

    from aerodrome.airflow.parse import Nursery

    nursery = Nursery(children)
    nursery.fork()
    try:
        os.environ.update(secrets)
        os.environ.update(asynchronous(os.environ))
        _connect()
        from aerodrome.airflow.manager import ProcessorManager, run

        with ProcessorManager.for_team(
            installation, team, nursery, listen=_place(options.listen), once=options.once
        ) as manager:
            ready.announce()
            run(manager)
            return manager.exit_code
    finally:
        nursery.close()


def _connect() -> None:
    """Have Airflow use the database that only now is known."""
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = program.options_of_team("aerodrome.airflow.processor", __doc__)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--listen", metavar="HOST:PORT")
    return parser.parse_args(argv)


def _place(text: str | None) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise AerodromeError(f"--listen {text} is not HOST:PORT", "For example: --listen 127.0.0.1:9871")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    program.run(main)
