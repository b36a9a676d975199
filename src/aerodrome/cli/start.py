"""``init``: something to begin with."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Write a starter aerodrome.yaml and a starter DAG repository into DIR (default: here).

    Both work as they are: 'aerodrome up' runs them.
    """
    from aerodrome.local import starter

    configuration, repository = starter.write(folder)
    here = folder == Path()
    click.echo(f"wrote {configuration}")
    click.echo(f"wrote {repository}, a Git repository with one DAG")
    click.echo("\nNext:")
    click.echo("  aerodrome up" if here else f"  cd {folder} && aerodrome up")
