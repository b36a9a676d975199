"""Which tests one process of ``make test`` runs one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

INTEGRATION = Path(__file__).parent / "integration"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Integration tests by folder, others by file: tests of a folder share servers, and some end all their children."""
    for item in items:
        together = item.path.parent if item.path.is_relative_to(INTEGRATION) else item.path
        item.add_marker(pytest.mark.xdist_group(str(together)))
