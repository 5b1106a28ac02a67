"""A context of a run that is made up, for tests of one part of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from image_syncer.coordinator.context import RunContext


def made_up_context(**parts: Any) -> RunContext:
    """The `parts` that the test is about; the others have nothing."""
    return RunContext(**{name: parts.pop(name, SimpleNamespace()) for name in RunContext.__struct_fields__}, **parts)
