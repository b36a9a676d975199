"""``render``, ``apply``, ``destroy`` and ``doctor``: the platform of ``aerodrome.yaml`` on Kubernetes."""

from __future__ import annotations

from pathlib import Path

import click

from aerodrome.cli.options import Place, place


@click.command()
@place
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Where to; default: one text.")
def render(place: Place, output: Path | None) -> None:
    """Write the Kubernetes manifests of aerodrome.yaml.

    One file an object below DIR, the same bytes for the same configuration; what an earlier render wrote there and is
    no more is removed. Secrets are not among them: 'aerodrome apply --secrets-only' makes those that can be generated.
    """
    from aerodrome.kubernetes import render as rendering

    files = rendering.render(place.open().config, place.config.name)
    if output is None:
        click.echo(rendering.stream(text for name, text in files.items() if name.endswith(".yaml")), nl=False)
        return
    changed = rendering.write(files, output)
    click.echo(f"{len(files)} files in {output}, {len(changed)} of them changed")
