"""Dispatch: worker processes, the jobs that they run, and the watch over both."""

from __future__ import annotations

__all__: list[str] = []
