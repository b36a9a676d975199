"""One Apache Airflow for many teams, every team's DAGs straight from its own Git repository."""

from __future__ import annotations

__version__ = "0.1.0"
