"""All doubles by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.doubles.double import Double
from image_syncer.embedded.doubles.harbor import HARBOR

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOUBLES", "double_of"]

DOUBLES: Mapping[str, Double] = {double.name: double for double in (HARBOR,)}
"""By the name that `Behaviour.double` has."""

_NONE = Double("", "a registry that keeps to the specification", Behaviour())


def double_of(behaviour: Behaviour) -> Double:
    """The double that `behaviour` names; one without rules where it names none."""
    return DOUBLES.get(behaviour.double, _NONE)
