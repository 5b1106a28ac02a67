"""Failures of a run grouped by their cause: what went wrong, where, and what to do about all of them at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from image_syncer.telemetry.outcome import Outcome
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.telemetry.outcome import ImageResult

__all__ = ["FailureGroup", "FailureGroups"]

EXAMPLES = 3
"""Images that are named for each cause."""
MANY = 6
"""Causes beyond which those that differ in nothing but their registry are told as one."""

_ADVICE = {
    "authentication": "Check the name, the password or token, and what it may do there: image-syncer doctor HOST/REPO.",
    "not found": "Check names and tags. Some registries also answer so to those who may not see a repository.",
    "refused": "The registry will not change its mind: read what it said, and change the rule or its settings.",
    "rate limited": "Log in, ask for fewer requests (requests_per_s of the registry), or run again later.",
    "not asked": "The registry had asked to be left alone. Run again later, or ask it for less.",
    "unavailable": "The registry failed. Run again: image-syncer retry --report FILE.",
    "registry down": "The registry did not answer for long. When it is back: image-syncer retry --report FILE.",
    "protocol violation": "The registry broke the rules of the protocol: tell its operator; the report has the answer.",
    "transport": "Look at the network between here and the registry: image-syncer doctor HOST.",
    "integrity": "Bytes were not what their digest says, and were not published. Repair the image at its source.",
    "worker": "Run again: image-syncer retry --report FILE. If it stays, look at memory and at the log.",
    "not tried": "The run ended before its turn. Finish it: image-syncer retry --report FILE.",
    "different": "Source and destination are not the same. Sync again, or find out who wrote there.",
}
"""What to do, by kind of error, where the error itself does not say it."""
_LAST_RESORT = "Read the reason; image-syncer retry --report FILE tries just these again."


class FailureGroup(Value, frozen=True):
    """All failures of one cause. `kind` is that of the error ("not found"), or the outcome where there was no error;
    `registry` is "" and `status` (of HTTP) None where there is none; so is `registry` where there are several
    `registries`. `examples` are the first ones.
    """

    kind: str
    side: str
    registry: str
    status: int | None
    count: int
    examples: tuple[ImageResult, ...]
    advice: str
    registries: int = 1

    @property
    def cause(self) -> str:
        """The cause in a few words: "source docker.io: rate limited (429)"."""
        parts = [self.side if self.side != "local" else "", self.registry]
        if self.registries > 1:
            parts = [f"{self.registries:,}", parts[0], "registries"]
        where = " ".join(part for part in parts if part)
        status = f" ({self.status})" if self.status is not None else ""
        return f"{where}: {self.kind}{status}" if where else f"{self.kind}{status}"


class FailureGroups:
    """Groups failures as they come, in memory that grows with their causes only."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, int | None]] = Counter()
        self._examples: dict[tuple[str, str, str, int | None], list[ImageResult]] = {}

    def add(self, image: ImageResult) -> None:
        """Counts one image, if it failed, was not tried, or differs."""
        if not image.outcome.is_failure:
            return
        cause = _cause(image)
        self._counts[cause] += 1
        known = self._examples.setdefault(cause, [])
        if len(known) < EXAMPLES:
            known.append(image)

    def groups(self) -> list[FailureGroup]:
        """The groups, the largest first; of more than `MANY`, the same trouble of many registries is one."""
        found = [
            FailureGroup(*cause, count, tuple(self._examples[cause]), _advice(self._examples[cause]))
            for cause, count in self._counts.most_common()
        ]
        return found if len(found) <= MANY else _merged(found)


def _merged(groups: list[FailureGroup]) -> list[FailureGroup]:
    alike: dict[tuple[str, str, int | None], list[FailureGroup]] = defaultdict(list)
    for group in groups:
        alike[group.kind, group.side, group.status].append(group)
    merged = [_as_one(each) if len(each) > 1 else each[0] for each in alike.values()]
    return sorted(merged, key=lambda group: -group.count)


def _as_one(groups: list[FailureGroup]) -> FailureGroup:
    examples = [image for group in groups for image in group.examples[:1]][:EXAMPLES]
    count = sum(group.count for group in groups)
    return replace(
        groups[0], registry="", count=count, examples=tuple(examples), registries=len(groups), advice=_advice(examples)
    )


def _cause(image: ImageResult) -> tuple[str, str, str, int | None]:
    error: Mapping[str, Any] = image.error or {}
    if image.outcome is Outcome.NOT_TRIED:
        return "not tried", "", "", None
    kind, side, status = (error.get(name) for name in ("kind", "side", "status"))
    side = side if isinstance(side, str) else ""
    names = {"source": image.source, "destination": image.destination}
    place = next((each for each in (error.get("registry"), error.get("repository")) if isinstance(each, str)), "")
    registry = (place or names.get(side, "")).partition("/")[0]
    known = kind if isinstance(kind, str) else image.outcome.value
    return known, side, registry, status if isinstance(status, int) else None


def _advice(examples: list[ImageResult]) -> str:
    first = examples[0]
    hint = (first.error or {}).get("hint")
    if isinstance(hint, str) and hint:
        return hint
    return _ADVICE.get(_cause(first)[0], _LAST_RESORT)
