"""The doctor: examines a registry with the requests of a run, and reports problems with their solutions."""

from __future__ import annotations

__all__: list[str] = []
