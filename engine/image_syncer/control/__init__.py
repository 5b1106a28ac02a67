"""Control of a run from outside while it runs: pause, drain, rates, over a socket of its user alone."""

from __future__ import annotations

__all__: list[str] = []
