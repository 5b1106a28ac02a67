"""Doubles: the registries of the world as the embedded one acts them, one file for each kind."""

from __future__ import annotations

from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.doubles.kinds import DOUBLES, double_of

__all__ = ["DOUBLES", "PASSWORD", "Double", "double_of"]
