"""``python -m aerodrome`` is ``aerodrome``."""

from __future__ import annotations

from aerodrome.cli import main

if __name__ == "__main__":
    main()
