"""A YAML document as plain data that knows the line of every value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from aerodrome.errors import Mistake

Loc = tuple[str | int, ...]

# Values in one file: aliases of aliases can make billions of a few lines.
_MOST = 200_000


@dataclass
class Document:
    """What a YAML file says. ``lines`` counts from 1 and knows keys and items by their path."""

    data: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, loc: Loc) -> int:
        """The line of the value at `loc`, or of the nearest thing around it that the file holds."""
        while loc:
            if loc in self.lines:
                return self.lines[loc]
            loc = loc[:-1]
        return self.lines.get((), 1)

    @staticmethod
    def where(loc: Loc) -> str:
        """`loc` as people write it: ``teams[0].gate.timeout``."""
        text = ""
        for part in loc:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text


def read_yaml(text: str) -> Document:
    """Read one YAML document; what is wrong with it as YAML is in ``mistakes``, and what could be read in ``data``."""
    document = Document()
    try:
        # A SafeLoader knows no tag that makes Python objects.
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                document.lines[()] = node.start_mark.line + 1
                document.data = _Reader(loader, document).read(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        document.mistakes.append(
            Mistake(mark.line + 1 if mark else 1, "", f"not YAML: {error.problem}{context}", _yaml_remedy(error))
        )
    except yaml.YAMLError as error:
        document.mistakes.append(Mistake(1, "", f"not YAML: {str(error).splitlines()[0]}", "write it as text in UTF-8"))
    return document


def _yaml_remedy(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "'\\t'" in problem:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in problem:
        return "check the indentation, and put text that holds ': ' into quotes"
    if "expected <block end>" in problem or "could not find expected ':'" in problem:
        return "check the indentation of this line and the one before it"
    return ""


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self.loader = loader
        self.document = document
        self.inside: list[yaml.Node] = []
        self.count = 0

    def read(self, node: yaml.Node, loc: Loc) -> Any:
        self.count += 1
        if self.count > _MOST:
            raise yaml.MarkedYAMLError(problem="its aliases unfold to too much", problem_mark=node.start_mark)
        if any(node is outer for outer in self.inside):
            self._mistake(node, loc, "an alias must not hold itself")
            return None
        self.inside.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, loc)
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, loc)
            return self._scalar(node, loc)
        finally:
            self.inside.pop()

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own: dict[str, int] = {}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged.extend(self._merged(value_node, loc))
                continue
            key = self._key(key_node, loc)
            line = key_node.start_mark.line + 1
            if key in own:
                what = f"the key stands twice, first in line {own[key]}"
                self.document.mistakes.append(Mistake(line, Document.where((*loc, key)), what, "keep one"))
                continue
            own[key] = line
            self.document.lines[(*loc, key)] = line
            found[key] = self.read(value_node, (*loc, key))
        for key_node, value_node in merged:
            key = self._key(key_node, loc)
            if key not in found:
                self.document.lines[(*loc, key)] = key_node.start_mark.line + 1
                found[key] = self.read(value_node, (*loc, key))
        return found

    def _merged(self, node: yaml.Node, loc: Loc) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The pairs that ``<<`` brings in; the first of several mappings wins, as in YAML."""
        if any(node is outer for outer in self.inside):
            self._mistake(node, loc, "an alias must not hold itself")
            return
        self.inside.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                nested = []
                for key_node, value_node in node.value:
                    if key_node.tag == "tag:yaml.org,2002:merge":
                        nested.append(value_node)
                    else:
                        yield key_node, value_node
                for value_node in nested:
                    yield from self._merged(value_node, loc)
            elif isinstance(node, yaml.SequenceNode):
                for item in node.value:
                    yield from self._merged(item, loc)
            else:
                self._mistake(node, loc, "<< needs an alias of a mapping")
        finally:
            self.inside.pop()

    def _sequence(self, node: yaml.SequenceNode, loc: Loc) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self.document.lines[(*loc, index)] = item.start_mark.line + 1
            items.append(self.read(item, (*loc, index)))
        return items

    def _key(self, node: yaml.Node, loc: Loc) -> str:
        if isinstance(node, yaml.ScalarNode):
            # As it was written: YAML 1.1 reads "on" and "no" as booleans, which nobody means as a key.
            return str(node.value)
        self._mistake(node, loc, "a key must be text")
        return "?"

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            problem = error.problem if isinstance(error, yaml.MarkedYAMLError) and error.problem else str(error)
            self._mistake(node, loc, f"not YAML: {problem}", "put it into quotes")
            return None
        # Dates and binary data have no use here; what was written as text is meant as text.
        return value if isinstance(value, str | int | float | bool | None) else str(node.value)

    def _mistake(self, node: yaml.Node, loc: Loc, what: str, remedy: str = "") -> None:
        # The node of an alias stands elsewhere.
        line = self.document.lines.get(loc, node.start_mark.line + 1)
        self.document.mistakes.append(Mistake(line, Document.where(loc), what, remedy))
