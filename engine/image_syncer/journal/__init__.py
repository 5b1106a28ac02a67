"""The journal of `--state`: what runs have done, in a file from which the next run continues."""

from __future__ import annotations

__all__: list[str] = []
