"""What ``aerodrome init`` writes: a configuration and a repository that work as they are."""

from __future__ import annotations

from pathlib import Path

from aerodrome.errors import UsageError
from aerodrome.local import repository

REPOSITORY = "dags"

_CONFIGURATION = """\
# The platform of this folder: 'aerodrome up' runs it on this machine.
# Every key with its default and what it means: 'aerodrome schema'.

sync:
  poll: 2s                        # how often repositories are asked for news

teams:
  - name: starter                 # add a team: a few lines like these, then 'aerodrome up' again
    repo: {repository}            # or https://..., ssh://..., git@host:path
    ref: main                     # branch, tag or commit
    dags: dags                    # folder with the DAG files
"""


def write(folder: Path) -> tuple[Path, Path]:
    """Write both into `folder`, which is made when it is missing. Returns configuration and repository.

    Raises:
        UsageError: one of them is there already; nothing was written.
    """
    configuration, repo = folder / "aerodrome.yaml", folder / REPOSITORY
    for path in (configuration, repo):
        if path.exists():
            raise UsageError(f"{path} is there already", "Name another folder: aerodrome init DIR.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} can not be made: {error.strerror}", "Name another folder.") from None
    repository.create(repo, "starter")
    configuration.write_text(_CONFIGURATION.format(repository=f"./{REPOSITORY}"))
    return configuration, repo
