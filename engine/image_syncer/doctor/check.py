"""What one look at a registry found."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.errors import redact
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.errors import SyncError

__all__ = ["Check", "CheckState", "failed", "fine", "skipped", "warned"]


class CheckState(str, Enum):
    """How a check ended: FAILED keeps a run from working, a WARNING does not; SKIPPED was not wanted or is not offered
    here, NOT_TRIED stands on something that has failed.
    """

    OK = "ok"
    FAILED = "failed"
    WARNING = "warning"
    SKIPPED = "skipped"
    NOT_TRIED = "not tried"

    def __str__(self) -> str:
        return self.value


class Check(Value, frozen=True):
    """One line of the checklist: its `name`, how it ended, `what` was found and, where something can be done, the
    `cure`.

    `seconds` is how long it took, `size_bytes` how much was moved by it. `facts` are for programs.
    """

    name: str
    state: CheckState
    what: str
    cure: str | None = None
    seconds: float | None = None
    size_bytes: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_broken(self) -> bool:
        """Whether nothing can stand on this."""
        return self.state in (CheckState.FAILED, CheckState.NOT_TRIED)

    def as_data(self) -> dict[str, Any]:
        """For programs; times in seconds, sizes in bytes."""
        return {
            "name": self.name,
            "state": self.state.value,
            "what": self.what,
            "cure": self.cure,
            "seconds": None if self.seconds is None else round(self.seconds, 4),
            "size_bytes": self.size_bytes,
            "facts": dict(self.facts),
        }


def fine(what: str, *, size_bytes: int | None = None, **facts: Any) -> Check:
    """It is as it should be. The examination gives these checks their names and their times."""
    return Check("", CheckState.OK, redact(what), size_bytes=size_bytes, facts=facts)


def warned(what: str, cure: str | None = None, **facts: Any) -> Check:
    """It may be meant so, and deserves a look."""
    return Check("", CheckState.WARNING, redact(what), cure, facts=facts)


def skipped(what: str, **facts: Any) -> Check:
    """It was not wanted, or is not offered here, and nothing hangs on it."""
    return Check("", CheckState.SKIPPED, redact(what), facts=facts)


def failed(what: str | SyncError, cure: str | None = None, **facts: Any) -> Check:
    """It is broken. Of an error, its own message and hint."""
    if isinstance(what, str):
        return Check("", CheckState.FAILED, redact(what), cure, facts=facts)
    data = {"kind": what.kind, **{name: value for name in _TOLD if (value := getattr(what, name, None))}}
    return Check("", CheckState.FAILED, what.message, cure or what.hint, facts={"error": data, **facts})


_TOLD = ("status", "codes", "phase", "curl_code")
"""Of an error, what programs can go by."""
