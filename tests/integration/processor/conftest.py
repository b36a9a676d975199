from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kit import Workshop


@pytest.fixture
def workshop(tmp_path: Path, airflow_database: str) -> Workshop:
    return Workshop(tmp_path, airflow_database)
