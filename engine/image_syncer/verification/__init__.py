"""Verification: what destinations hold, compared with what the source has. A sync uses it with `--verify`."""

from __future__ import annotations

__all__: list[str] = []
