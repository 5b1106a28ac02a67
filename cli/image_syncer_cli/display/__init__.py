"""What people see: figures, summaries, the live display, and the pages."""

from __future__ import annotations

__all__: list[str] = []
