"""What pydantic found, in the words of the configuration: what is wrong, and the nearest right word."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from aerodrome.config import values
from aerodrome.config.document import Loc
from aerodrome.config.model import Config
from aerodrome.names import nearest

_PATTERNS = {
    values.DNS_LABEL: "must be a Kubernetes name: up to 63 lower-case letters, digits and -",
    values.DNS_NAME: "must be a Kubernetes name: lower-case letters, digits, - and .",
    values.LABEL_KEY: "must be the name of a label or annotation, for example example.com/owner",
    values.CLASS_PATH: "must be the path of a class, for example package.module.Class",
}
_TYPES = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


def explain(error: ValidationError, data: Any) -> list[tuple[Loc, str, str]]:
    """Each mistake in `error`: the place in the file, what is wrong, what to do ("" when the first says it).

    Args:
        error: what validation raised.
        data: what was validated. Its values are never repeated where they may be secrets.
    """
    details = error.errors(include_url=False, include_input=False)
    # A list without its mistaken items is "too short" as well: that says nothing new.
    return [_explain(detail, data) for detail in details if detail["type"] != "too_short" or len(details) == 1]


def _explain(detail: Any, data: Any) -> tuple[Loc, str, str]:
    kind: str = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    loc = tuple(part for part in detail["loc"] if not _is_tag(part))
    what, remedy = detail["msg"], ""
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
        what = "is not a name that can stand here"
    elif kind == "extra_forbidden":
        word = str(loc[-1])
        known = known_keys(loc[:-1], data)
        guess = nearest(word, known)
        what = "there is no such key"
        remedy = f"did you mean {guess!r}?" if guess else f"known here: {', '.join(known)}" if known else ""
    elif kind == "missing":
        what = "must be given"
    elif kind == "literal_error":
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        guess = nearest(str(_at(data, loc)), words)
        what = f"must be {', '.join(words[:-1])}{' or ' if len(words) > 1 else ''}{words[-1]}"
        remedy = f"did you mean {guess!r}?" if guess else ""
    elif kind == "credentials":
        given = _at(data, loc)
        guesses = [nearest(str(key), ("token", "ssh_key", "github_app")) for key in given or ()]
        remedy = next((f"did you mean {guess!r}?" for guess in guesses if guess), "")
    elif kind == "value_error":
        what = str(context["error"])
    elif kind in _TYPES:
        what = _TYPES[kind]
        value = _at(data, loc)
        if value is None:
            remedy = "nothing was written: give a value or remove the key"
        elif kind == "string_type" and isinstance(value, int | float):
            remedy = "put it into quotes"
    elif kind == "string_pattern_mismatch":
        what = _PATTERNS.get(context["pattern"], f"does not have the right form ({context['pattern']})")
    elif kind in ("greater_than_equal", "less_than_equal"):
        what = f"must be {context.get('ge', context.get('le'))} or {'more' if 'ge' in context else 'less'}"
    return loc, what, remedy


def known_keys(loc: Loc, data: Any) -> list[str]:
    """The keys that the part of the configuration at `loc` may have."""
    annotation: Any = Config
    for part in loc:
        data = _at(data, (part,))
        annotation = _step(annotation, part, data)
    return sorted({key for model in _models(annotation) if _fits(model, data) for key in _keys(model)})


def _fits(model: type[BaseModel], data: Any) -> bool:
    """Of several kinds (of credentials) the one whose first key is there."""
    first = next(iter(model.model_fields))
    return first not in ("token", "ssh_key", "github_app") or not isinstance(data, dict) or first in data


def _step(annotation: Any, part: str | int, data: Any) -> Any:
    for model in _models(annotation):
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                return field.annotation
    for option in _options(annotation):
        arguments = get_args(option)
        if get_origin(option) in (tuple, list) and isinstance(part, int):
            return arguments[0]
        if get_origin(option) is dict:
            return arguments[1]
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [option for option in _options(annotation) if isinstance(option, type) and issubclass(option, BaseModel)]


def _options(annotation: Any) -> Iterable[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _options(argument)
    else:
        yield annotation


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _is_tag(part: object) -> bool:
    return isinstance(part, str) and part.startswith("<")


def _at(data: Any, loc: Loc) -> Any:
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data
