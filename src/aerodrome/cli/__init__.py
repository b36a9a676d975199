"""The command line. Thin: each command reads its arguments, calls one part and prints what it says.

A command's module is imported when the command is called, so that ``aerodrome version`` costs what it should.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from aerodrome.errors import AerodromeError, ConfigError
from aerodrome.names import nearest

# name: (module below aerodrome.cli, function, one line)
COMMANDS = {
    "init": ("start", "init", "Write a starter aerodrome.yaml and a starter DAG repository."),
    "demo": ("demo", "demo", "Run a platform with two sample teams."),
    "up": ("platform", "up", "Run the platform of aerodrome.yaml on this machine."),
    "down": ("platform", "down", "Stop the platform of this machine."),
    "status": ("status", "status", "Show what runs, and each team's commit and verdict."),
    "check": ("check", "check", "Judge a repository before pushing it."),
    "history": ("current", "history", "Show what was live when."),
    "rollback": ("current", "rollback", "Make an earlier commit live, and keep it."),
    "resume": ("current", "resume", "Follow the repository again after a rollback."),
    "recheck": ("current", "recheck", "Have the newest commit judged again."),
    "render": ("kubernetes", "render", "Write the Kubernetes manifests of aerodrome.yaml."),
    "apply": ("kubernetes", "apply", "Bring a cluster to what aerodrome.yaml says."),
    "destroy": ("kubernetes", "destroy", "Take the platform off the cluster."),
    "doctor": ("kubernetes", "doctor", "Say what is missing or wrong, each with its remedy."),
    "sync": ("services", "sync", "Follow the teams' repositories (a service)."),
    "processor": ("services", "processor", "Parse and judge a team's commits (a service)."),
    "triggerer": ("services", "triggerer", "Run a team's deferred tasks (a service)."),
    "schema": ("about", "schema", "Print the JSON Schema of aerodrome.yaml."),
    "completion": ("about", "completion", "Print what makes a shell complete commands."),
    "version": ("about", "version", "Print the versions of Aerodrome and Airflow."),
}


class Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"aerodrome.cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            guess = nearest(name, COMMANDS)
            ctx.fail(f"there is no command {name!r}." + (f" Did you mean {guess!r}?" if guess else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="aerodrome", message="aerodrome %(version)s")
def aerodrome() -> None:
    """One Apache Airflow for many teams, every team's DAGs straight from its own Git repository.

    \b
    aerodrome demo              see it work: two teams, two repositories
    aerodrome init              begin with a platform of your own
    aerodrome up                run it on this machine

    Exit codes: 0 done; 1 the answer is no (refused, failed, unhealthy); 2 wrong usage or configuration.
    """


def main() -> None:
    """Run the command of the command line and end the process with its exit code."""
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        # A reader that has gone (``aerodrome history | head``) is no defect.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: list[str]) -> int:
    """Run one command. Returns its exit code."""
    try:
        result: Any = aerodrome.main(arguments, prog_name="aerodrome", standalone_mode=False)
    except AerodromeError as error:
        complain(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 1
    except BrokenPipeError:
        return 0
    return result if isinstance(result, int) else 0


def complain(error: AerodromeError) -> None:
    """What is wrong and what to do, on stderr."""
    first, *others = error.what.splitlines() or [""]
    if isinstance(error, ConfigError):
        click.echo(error.what, err=True)
    else:
        click.echo("\n".join([f"error: {first}", *(f"       {line}" for line in others)]), err=True)
    if error.remedy:
        click.echo(f"  {error.remedy}", err=True)
