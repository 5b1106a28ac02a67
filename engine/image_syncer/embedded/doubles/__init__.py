"""Doubles: other registries as the embedded one imitates them."""

from __future__ import annotations

from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.doubles.kinds import DOUBLES, double_of, parse_behaviour

__all__ = ["DOUBLES", "PASSWORD", "Double", "double_of", "parse_behaviour"]
