"""An installation: a configuration together with the places that it has on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aerodrome.config.load import load
from aerodrome.config.model import Config
from aerodrome.secrets import SecretPlace, resolve

STATE = ".aerodrome"
"""Name of the state folder beside the configuration."""


@dataclass(frozen=True)
class Installation:
    """A configuration and where it lives.

    Args:
        config: the checked configuration.
        path: its file, absolute.
        state: folder of everything that this machine keeps for it, absolute; it need not exist yet.
    """

    config: Config
    path: Path
    state: Path

    @classmethod
    def open(cls, path: Path | str = "aerodrome.yaml", state: Path | str | None = None) -> Installation:
        """The installation of the configuration file `path`.

        Args:
            path: the configuration file.
            state: the state folder; default: ``.aerodrome`` beside the file.

        Raises:
            ConfigError: the configuration has mistakes.
            UsageError: the file can not be read.
        """
        path = Path(path).absolute()
        config = load(path)
        return cls(config, path, Path(state).absolute() if state is not None else path.parent / STATE)

    @property
    def store_url(self) -> str:
        """URL of the store; by default a folder in the state folder."""
        return self.config.store or (self.state / "store").as_uri()

    @property
    def store_places(self) -> dict[str, str | dict[str, str]]:
        """The store's options with secrets as places: what may travel in settings, the environment and manifests.

        :func:`aerodrome.secrets.resolve` makes values of them.
        """
        return {
            name: value.mapping() if isinstance(value, SecretPlace) else value
            for name, value in self.config.store_options.items()
        }

    @property
    def store_options(self) -> Mapping[str, str]:
        """The store's options with the secrets read, for this process only.

        Raises:
            AerodromeError: a place of a secret can not be read.
        """
        return resolve(self.config.store_options)
