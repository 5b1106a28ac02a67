"""The names of the figures of a report, for `--help`, which loads nothing else."""

from __future__ import annotations

__all__ = ["FIGURE_NAMES"]

FIGURE_NAMES = ("throughput", "waits", "workers", "registries", "limits")
