"""What the program says about itself: ``schema``, ``completion``, ``version``."""

from __future__ import annotations

import importlib.metadata
import json
import platform

import click

from aerodrome.cli.options import as_json


@click.command()
def schema() -> None:
    """Print the JSON Schema of aerodrome.yaml, for editors.

    \b
    aerodrome schema > aerodrome.schema.json
    # first line of aerodrome.yaml:
    # yaml-language-server: $schema=./aerodrome.schema.json
    """
    from aerodrome.config.schema import schema as make

    click.echo(json.dumps(make(), indent=2))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete aerodrome's commands and options.

    \b
    bash   echo 'eval "$(aerodrome completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(aerodrome completion zsh)"' >> ~/.zshrc
    fish   aerodrome completion fish > ~/.config/fish/completions/aerodrome.fish
    """
    from click.shell_completion import get_completion_class

    from aerodrome.cli import aerodrome

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(aerodrome, {}, "aerodrome", "_AERODROME_COMPLETE").source())


@click.command()
@as_json
def version(as_json: bool) -> None:
    """Print the versions of Aerodrome, Airflow and Python."""
    found = {"aerodrome": _version("aerodrome"), "airflow": _version("apache-airflow-core")}
    found["python"] = platform.python_version()
    if as_json:
        click.echo(json.dumps(found))
    else:
        for name, number in found.items():
            click.echo(f"{name} {number or 'not installed'}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
