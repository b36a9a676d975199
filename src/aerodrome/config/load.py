"""Reads ``aerodrome.yaml``: every mistake with its line, all of them in one report."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aerodrome.config.document import Document, Loc, read_yaml
from aerodrome.config.explain import explain
from aerodrome.config.model import Config
from aerodrome.config.rules import broken_rules
from aerodrome.errors import ConfigError, Mistake, UsageError


def load(path: Path | str) -> Config:
    """The configuration in the file `path`. Relative paths in it are relative to its folder.

    Raises:
        ConfigError: it has mistakes; all of them.
        UsageError: there is no such file, or it can not be read.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"there is no configuration {path}", "Make one with 'aerodrome init', or name it: -c FILE."
        ) from None
    except OSError as error:
        raise UsageError(
            f"the configuration {path} can not be read: {error.strerror}", "Name a file: -c FILE."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Mistake(1, "", f"not text in UTF-8: {error.reason}")]) from None
    return parse(text, path)


def parse(text: str, path: Path | str = "aerodrome.yaml") -> Config:
    """The configuration in `text`; `path` stands in messages, and its folder is what relative paths are relative to.

    Raises:
        ConfigError: it has mistakes; all of them.
    """
    document = read_yaml(text)
    context = {"folder": Path(path).absolute().parent}
    mistakes = list(document.mistakes)
    if document.data is None and not mistakes:
        document.data = {}
    if document.data is not None and not isinstance(document.data, dict):
        mistakes.append(Mistake(1, "", "must be a mapping of keys to values, beginning with for example teams:"))
    elif document.data is not None:
        try:
            config = Config.model_validate(document.data, context=context)
            wrong: list[tuple[Loc, str, str]] = []
        except ValidationError as error:
            wrong = explain(error, document.data)
            config = _salvage(document.data, error, context)
        wrong += broken_rules(config, document.data)
        mistakes += [
            Mistake(document.line(loc), Document.where(loc), what, remedy) for loc, what, remedy in dict.fromkeys(wrong)
        ]
        if not mistakes:
            return config
    raise ConfigError(str(path), sorted(mistakes, key=lambda mistake: mistake.line))


def _salvage(data: dict[str, Any], error: ValidationError, context: dict[str, Any]) -> Config:
    """The configuration without its wrong values, so that the rules across keys are checked in the same report.

    Teams keep their places in the list, so that paths still name the right line.
    """
    data = copy.deepcopy(data)
    for _ in range(3):
        for loc in sorted((tuple(detail["loc"]) for detail in error.errors()), key=len, reverse=True):
            _remove(data, loc)
        try:
            return Config.model_validate(data, context=context)
        except ValidationError as again:
            error = again
    return Config()


def _remove(data: Any, loc: Loc) -> None:
    """Take what is wrong at `loc` out of `data`: the innermost key around it; a team is replaced, never gone."""
    chain: list[tuple[Any, Any]] = []
    for part in loc:
        try:
            child = data[part]
        except (KeyError, IndexError, TypeError):
            # pydantic names a kind of credentials as well, which the file does not; else something is missing here.
            if isinstance(part, str) and part.startswith("<"):
                continue
            break
        chain.append((data, part))
        data = child
    for depth, (holder, part) in reversed(list(enumerate(chain, 1))):
        if isinstance(holder, dict) and not (depth == 3 and part == "name"):
            del holder[part]
            return
        if depth == 2 and chain[0][1] == "teams":
            holder[part] = {"name": f"mistaken-{part}", "repo": "."}
            return
