"""Values of the configuration: how a duration, a size, a folder, a name or a place is written, and what it becomes."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from aerodrome.names import nearest
from aerodrome.secrets import SecretPlace

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
SIZE = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)$"
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i|e[0-9]{1,2})?$"

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
HOST = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
CLASS_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
LABEL_KEY = r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"


def written(text: object) -> Any:
    """A default as a user would write it, in the reference and the JSON Schema too; pydantic makes the value of it."""
    return text


def seconds(text: object) -> float:
    """Seconds of ``10s``, ``5m``, ``1h30m``, ``500ms``.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(text, str) or not re.fullmatch(DURATION, text):
        number = isinstance(text, int | float) and not isinstance(text, bool)
        raise ValueError(
            f"must be a duration with a unit, for example {f'{text}s' if number else '500ms, 10s, 5m'} or 1h"
        )
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h|d)", text))


def size_in_bytes(text: object) -> int:
    """Bytes of ``512Mi``, ``1Gi``, ``10k``.

    Raises:
        ValueError: anything else.
    """
    match = re.fullmatch(SIZE, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("must be a size with a unit, for example 64Ki, 512Mi or 1Gi")
    return int(float(match[0][: -len(match[2])]) * _BYTES[match[2]])


def duration_text(value: float) -> str:
    """`value` seconds as they are written in the configuration."""
    return f"{int(value)}s" if value == int(value) else f"{value * 1000:.6f}".rstrip("0").rstrip(".") + "ms"


def _duration_or_never_text(value: float | None) -> str:
    return "never" if value is None else duration_text(value)


def size_text(value: int) -> str:
    """`value` bytes as they are written in the configuration."""
    for unit in ("Gi", "Mi", "Ki", "k"):
        if value % _BYTES[unit] == 0:
            return f"{value // _BYTES[unit]}{unit}"
    return f"{value / 1000:.3f}".rstrip("0") + "k"


def _place_or_text(value: str | SecretPlace) -> str | dict[str, str]:
    return value.mapping() if isinstance(value, SecretPlace) else value


def _duration_or_never(text: object) -> float | None:
    if text == "never" or text is None:
        return None
    return seconds(text)


def _quantity(value: object) -> str:
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(QUANTITY, text):
        raise ValueError("must be a Kubernetes quantity, for example 500m, 2, 512Mi or 64Gi")
    return text


def relative_folder(value: object) -> str:
    """A folder of the repository: POSIX, relative, normalized; "" is the root.

    Raises:
        ValueError: absolute, or out of the repository.
    """
    if not isinstance(value, str) or not value or "\0" in value or "\\" in value:
        raise ValueError("must be a folder of the repository, written with /; . is its root")
    if value.startswith(("/", "~")):
        raise ValueError("must be relative to the root of the repository")
    if ".." in value.split("/"):
        raise ValueError("must not hold ..: it would lead out of the repository")
    normal = posixpath.normpath(value)
    if normal.split("/")[0] == ".git":
        raise ValueError(".git is never part of a snapshot")
    return "" if normal == "." else normal


def _secret_place(value: object, info: ValidationInfo) -> SecretPlace:
    if isinstance(value, SecretPlace):
        return value
    if not isinstance(value, dict):
        # What was written may be the secret itself: never repeat it.
        raise ValueError(
            "a secret is never written into this file, only its place: "
            "{env: NAME}, {file: PATH} or {secret: NAME, key: KEY}"
        )
    for name, part in value.items():
        if name not in ("env", "file", "secret", "key"):
            guess = nearest(str(name), ("env", "file", "secret", "key"))
            raise ValueError(
                f"a place has no key {str(name)!r}{f', did you mean {guess!r}?' if guess else ''}: "
                "write {env: NAME}, {file: PATH} or {secret: NAME, key: KEY}"
            )
        if not isinstance(part, str):
            raise ValueError(f"{name} of a place must be text")
    place = SecretPlace(**value)
    folder = (info.context or {}).get("folder")
    if place.file is not None and folder is not None:
        place = SecretPlace(file=str(Path(folder) / Path(place.file).expanduser()))
    return place


def _ref(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'must be text: put it in quotes, "{value}"')
    if not isinstance(value, str):
        raise ValueError("must be a branch, a tag or a full commit")
    problem = ref_problem(value)
    if problem:
        raise ValueError(f"{value!r} can not be the name of a branch or tag: {problem}")
    return value


def ref_problem(ref: str) -> str | None:
    """Why git would refuse `ref` as a name (rules of ``git check-ref-format``); None when it would not."""
    if not ref:
        return "it is empty"
    if bad := re.search(r"[\x00-\x20\x7f~^:?*\[\\]", ref):
        return f"it holds {bad[0]!r}"
    for text in ("..", "@{", "//"):
        if text in ref:
            return f"it holds {text!r}"
    if ref == "@" or ref.startswith(("-", "/")) or ref.endswith(("/", ".")):
        return "of its first or last character"
    if any(part.startswith(".") or part.endswith(".lock") for part in ref.split("/")):
        return "a part of it begins with . or ends with .lock"
    return None


def _text(value: object) -> str:
    """Settings of other programs are text; YAML's true and 1 are what Airflow's files write as True and 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    raise ValueError("must be text, a number, true or false")


def _lower_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else _text(value)


def store_option(value: object, info: ValidationInfo) -> str | SecretPlace:
    return _secret_place(value, info) if isinstance(value, dict | SecretPlace) else _lower_text(value)


def env_value(value: object, info: ValidationInfo) -> str | SecretPlace:
    return _secret_place(value, info) if isinstance(value, dict | SecretPlace) else _text(value)


_PLACE_SCHEMA: dict[str, Any] = {
    "description": "The place of a secret, never the secret itself.",
    "oneOf": [
        {
            "type": "object",
            "properties": {"env": {"type": "string", "description": "Name of an environment variable."}},
            "required": ["env"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"file": {"type": "string", "description": "Path; relative to the folder of this file."}},
            "required": ["file"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "secret": {"type": "string", "description": "Name of a Kubernetes Secret."},
                "key": {"type": "string", "description": "Key in that Secret."},
            },
            "required": ["secret", "key"],
            "additionalProperties": False,
        },
    ],
}
_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}

Duration = Annotated[
    float,
    PlainValidator(seconds),
    PlainSerializer(duration_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["10s", "5m"]}),
]
DurationOrNever = Annotated[
    float | None,
    PlainValidator(_duration_or_never),
    PlainSerializer(_duration_or_never_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^never$|{DURATION}", "examples": ["never", "10m"]}),
]
Size = Annotated[
    int,
    PlainValidator(size_in_bytes),
    PlainSerializer(size_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SIZE, "examples": ["512Mi", "1Gi"]}),
]
Quantity = Annotated[
    str,
    PlainValidator(_quantity),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": QUANTITY}, {"type": "number", "minimum": 0}]}),
]
Folder = Annotated[
    str,
    PlainValidator(relative_folder),
    PlainSerializer(lambda folder: folder or ".", when_used="json"),
    WithJsonSchema({"type": "string", "examples": [".", "dags"]}),
]
Secret = Annotated[
    SecretPlace,
    PlainValidator(_secret_place),
    PlainSerializer(SecretPlace.mapping, when_used="json"),
    WithJsonSchema(_PLACE_SCHEMA),
]
Ref = Annotated[str, PlainValidator(_ref), WithJsonSchema({"type": "string"})]
Setting = Annotated[str, BeforeValidator(_text), WithJsonSchema(_SCALAR_SCHEMA)]
StoreOption = Annotated[
    str | SecretPlace,
    PlainValidator(store_option),
    PlainSerializer(_place_or_text, when_used="json"),
    WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, _PLACE_SCHEMA]}),
]
EnvValue = Annotated[
    str | SecretPlace,
    PlainValidator(env_value),
    PlainSerializer(_place_or_text, when_used="json"),
    WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, _PLACE_SCHEMA]}),
]
DnsLabel = Annotated[str, StringConstraints(pattern=DNS_LABEL)]
DnsName = Annotated[str, StringConstraints(pattern=DNS_NAME)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY)]
ClassPath = Annotated[str, StringConstraints(pattern=CLASS_PATH)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
