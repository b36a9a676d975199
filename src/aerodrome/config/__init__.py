"""The configuration: one file, one typed model, all mistakes in one report."""

from __future__ import annotations

from aerodrome.config.load import load, parse
from aerodrome.config.model import Config, GithubApp, SshKey, Team, Token
from aerodrome.secrets import SecretPlace

__all__ = ["Config", "GithubApp", "SecretPlace", "SshKey", "Team", "Token", "load", "parse"]
