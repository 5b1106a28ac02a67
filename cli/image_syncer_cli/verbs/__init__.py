"""The verbs: one module each, with the options of the verb and what it does."""

from __future__ import annotations

__all__: list[str] = []
