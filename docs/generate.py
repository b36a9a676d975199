"""Writes docs/reference from the code: the configuration from its JSON Schema, the command line from its own help.

``make docs`` runs it; ``tests/unit/docs`` fails when what it would write differs from what is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from aerodrome.cli import COMMANDS, aerodrome
from aerodrome.config.schema import schema
from aerodrome.gate.findings import EXTERNAL, FIRM, KINDS

REFERENCE = Path(__file__).parent / "reference"
_WIDTH = 100

_CONFIGURATION = """\
<!-- Written by docs/generate.py (make docs); do not edit. -->

# aerodrome.yaml

Every key, with its type and default. Unknown keys are refused with the nearest right one, and all mistakes are
reported together, each with its line. `aerodrome schema` prints the JSON Schema for editors; it is also here, as
[aerodrome.schema.json](aerodrome.schema.json).

- A *duration* is a number with a unit: `500ms`, `10s`, `5m`, `1h30m`.
- A *size* is a number with a unit: `512Mi`, `1Gi`.
- A *secret* is never a value but a place: `{env: NAME}`, `{file: PATH}`, or `{secret: NAME, key: KEY}` (a Kubernetes
  Secret in the platform's namespace).
"""

_FINDINGS = """\
<!-- Written by docs/generate.py (make docs); do not edit. -->

# Findings

What the gate finds in a snapshot. Each finding has a kind, a file and a line where they are known, what is wrong and
what to do. A snapshot with an error is refused; a warning does not stop it.

- *Judged again by itself*: the cause may lie outside Git, so that a refusal that has only such findings is tried again
  after 1 to 10 minutes, and at once by `aerodrome recheck TEAM`.
- *Can be allowed*: named in the team's `gate.allow`, the kind only warns.

| kind | what it is | judged again by itself | can be allowed |
| --- | --- | --- | --- |"""

_COMMAND_LINE = """\
<!-- Written by docs/generate.py (make docs); do not edit. -->

# The command line

Names and exit codes are a contract: 0 done; 1 the answer is no (refused, failed, unhealthy); 2 wrong usage or
configuration. An error is one line of what is wrong and one of what to do.
"""


def pages() -> dict[str, str]:
    """The pages by their name in docs/reference."""
    content = schema()
    return {
        "aerodrome.schema.json": json.dumps(content, indent=2) + "\n",
        "configuration.md": _configuration(content),
        "command-line.md": _command_line(),
        "findings.md": _findings(),
    }


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


# --- configuration ----------------------------------------------------------------------------------------------------


def _configuration(content: dict[str, Any]) -> str:
    lines = [_CONFIGURATION]
    sections = _sections(content)
    links = {name: f"[object](#{_anchor(heading)})" for name, (heading, _) in sections.items()}
    for heading, part in sections.values():
        lines += _section(heading, part, links, content["$defs"])
    return "\n".join(lines).rstrip() + "\n"


def _sections(content: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Heading and schema of each object with keys of its own, by its name in the schema, in the order of the file."""
    definitions: dict[str, dict[str, Any]] = content["$defs"]
    found: dict[str, tuple[str, dict[str, Any]]] = {}

    def visit(path: str, name: str, part: dict[str, Any], alternatives: int) -> None:
        if name not in found:
            text = part.get("description", "").rstrip(".")
            kind = f": {text[:1].lower()}{text[1:]}" if alternatives > 1 else ""
            found[name] = (f"`{path}`{kind}" if path else "Top level", part)
            for key, value in part["properties"].items():
                objects = list(_objects(value))
                for suffix, child in objects:
                    visit(f"{path}.{key}{suffix}".lstrip("."), child, definitions[child], len(objects))

    visit("", "", content, 1)
    return found


def _section(heading: str, part: dict[str, Any], links: dict[str, str], definitions: dict[str, Any]) -> list[str]:
    lines = [f"## {heading}", "", part.get("description", "").replace("``", "`"), ""]
    lines += ["| key | type | default | |", "| --- | --- | --- | --- |"]
    for key, value in part["properties"].items():
        required = key in part.get("required", ())
        described = value if "description" in value or "$ref" not in value else definitions[_name(value)]
        text = str(described.get("description", "")).replace(" Must be given.", "").replace("|", "\\|")
        default = "must be given" if required else "" if "default:" in text else _default(value)
        lines.append(f"| `{key}` | {_type(value, links)} | {default} | {text} |")
    return [*lines, ""]


def _objects(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The definitions that `value` may be, each with what it adds to the path."""
    if "$ref" in value:
        yield "", _name(value)
    if value.get("type") == "array":
        yield from ((f"[]{suffix}", name) for suffix, name in _objects(value.get("items", {})))
    for choice in _choices(value):
        yield from _objects(choice)


def _name(value: dict[str, Any]) -> str:
    return str(value["$ref"]).rpartition("/")[2]


def _anchor(heading: str) -> str:
    """The anchor that forges make of a heading."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")


_PLACE = "The place of a secret, never the secret itself."


def _choices(value: dict[str, Any]) -> list[dict[str, Any]]:
    if value.get("description") == _PLACE:
        return []
    return [*value.get("anyOf", ()), *value.get("oneOf", ())]


def _type(value: dict[str, Any], links: dict[str, str]) -> str:
    if "$ref" in value:
        return links[_name(value)]
    if _is_place(value):
        return "secret"
    if choices := _choices(value):
        names = [_type(choice, links) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(names))
    if "enum" in value:
        return " \\| ".join(f"`{choice}`" for choice in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    kind = value.get("type", "any")
    if kind == "array":
        return f"list of {_type(value.get('items', {}), links)}"
    if kind == "object":
        return "mapping"
    if isinstance(kind, list):
        return " or ".join(_NAMES.get(one, one) for one in kind if one != "null")
    if "(ms|s|m|h|d)" in value.get("pattern", ""):
        return "duration or `never`" if value["pattern"].startswith("^never") else "duration"
    if "Ki" in value.get("pattern", "") or "KMGT" in value.get("pattern", ""):
        return "size"
    return _NAMES.get(kind, kind)


_NAMES = {"string": "text", "boolean": "true or false", "integer": "whole number"}


def _is_place(value: dict[str, Any]) -> bool:
    places = [set(choice.get("properties", ())) for choice in value.get("oneOf", ())]
    return {"env"} in places and {"file"} in places


def _default(value: dict[str, Any]) -> str:
    if "default" not in value:
        return ""
    found = value["default"]
    if found is None or found in ({}, [], ""):
        return ""
    return f"`{found if isinstance(found, str) else json.dumps(found)}`"


# --- command line -----------------------------------------------------------------------------------------------------


def _command_line() -> str:
    group = click.Context(
        aerodrome,
        info_name="aerodrome",
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    lines = [_COMMAND_LINE, "```text", aerodrome.get_help(group), "```", ""]
    for name in COMMANDS:
        command = aerodrome.get_command(group, name)
        if command is None:
            raise RuntimeError(f"aerodrome {name} can not be imported")
        context = click.Context(
            command,
            parent=group,
            info_name=name,
            terminal_width=_WIDTH,
            max_content_width=_WIDTH,
            help_option_names=["-h", "--help"],
        )
        lines += [f"## aerodrome {name}", "", "```text", command.get_help(context), "```", ""]
    text = "\n".join(lines).rstrip() + "\n"
    return "\n".join(line.rstrip() for line in text.split("\n"))


# --- findings ---------------------------------------------------------------------------------------------------------


def _findings() -> str:
    lines = [_FINDINGS]
    for kind, text in KINDS.items():
        allowed = "no" if kind in FIRM else "yes"
        lines.append(f"| `{kind}` | {text} | {'yes' if kind in EXTERNAL else ''} | {allowed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
