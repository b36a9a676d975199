"""docs/reference is written from the code, and what the other pages say can be found."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_what_the_code_says(generate: ModuleType) -> None:
    there = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").iterdir()}
    assert there == generate.pages(), "run `make docs` and commit what it writes"


def test_every_key_is_described(generate: ModuleType) -> None:
    empty = [line for line in generate.pages()["configuration.md"].splitlines() if re.search(r"^\| `.*\|  \|$", line)]
    assert empty == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for link in _LINK.findall(text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_commands_in_the_docs_exist(generate: ModuleType) -> None:
    known = set(generate.COMMANDS)
    unknown = {
        f"{page.relative_to(ROOT)}: aerodrome {word}"
        for page in PAGES
        for word in re.findall(r"(?:`|^(?:exec )?)aerodrome ([a-z]+)", page.read_text(), re.MULTILINE)
        if word not in known
    }
    assert unknown == set()
