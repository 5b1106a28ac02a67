"""Pruned: what a run deleted at its destinations, or would delete; what stays, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer.planning.pruning import RepositoryPrune

__all__ = ["Deletion", "Held", "Pruned"]


class Deletion(Value, frozen=True):
    """One tag or manifest that was to go. `outcome` is "would go", "deleted", "gone already", "left" (the reason says
    why) or "failed" (`error` is `SyncError.to_data()`).
    """

    repository: str
    digest: str
    tags: tuple[str, ...]
    outcome: str
    reason: str
    alone: bool = False
    """Only the tag was to go."""
    error: Mapping[str, Any] | None = None

    def as_data(self) -> dict[str, Any]:
        """The deletion as plain data."""
        data = {**as_dict(self), "tags": list(self.tags)}
        if self.error is None:
            del data["error"]
        return data


class Held(Value, frozen=True):
    """A repository in which nothing is pruned, and why. `is_failure`: it should have been."""

    repository: str
    reason: str
    is_failure: bool = True

    def as_data(self) -> dict[str, Any]:
        """The same as plain data."""
        return as_dict(self)


class Pruned(Struct):
    """All of it. `excess` says that too much would go, and that nothing was deleted because of that; `not_over` that
    the run ended before this was done.
    """

    deletes: bool
    plans: list[RepositoryPrune] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    excess: str | None = None
    not_over: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What bounded it."""
    unsaved: str | None = None
    """Why the plan is not in the file that was asked for."""

    @property
    def tag_count(self) -> int:
        """Tags that go, or would."""
        return sum(plan.tag_count for plan in self.plans)

    @property
    def manifest_count(self) -> int:
        """Manifests that go, or would."""
        return sum(len(plan.manifests) for plan in self.plans)

    @property
    def has_failed(self) -> bool:
        """Whether something was to be pruned, and was not."""
        failed = any(each.outcome in ("failed", "left") for each in self.deletions)
        return (
            failed
            or self.not_over
            or not (self.excess is None and self.unsaved is None)
            or any(each.is_failure for each in self.held)
        )

    def planned(self) -> Iterator[Deletion]:
        """Everything that would go, in the order of deletion."""
        for plan in self.plans:
            name = str(plan.repository)
            for tag in plan.tags:
                reason = "no rule selects it; its manifest stays, as another tag has it"
                yield Deletion(name, str(tag.digest), (tag.tag,), "would go", reason, alone=True)
            for manifest in plan.manifests:
                yield Deletion(name, str(manifest.digest), manifest.tags, "would go", manifest.why)

    def told(self) -> list[Deletion]:
        """What was done of it; where nothing was to be, what would go."""
        return self.deletions if self.deletes and self.excess is None else list(self.planned())

    def as_data(self) -> dict[str, Any]:
        """The section of the report."""
        return {
            "deletes": self.deletes,
            "settings": dict(self.settings),
            "tags": self.tag_count,
            "manifests": self.manifest_count,
            "excess": self.excess,
            "complete": not self.not_over,
            "deletions": [each.as_data() for each in self.told()],
            "held": [each.as_data() for each in self.held],
            "kept": [
                {"repository": str(plan.repository), "tag": tag, "digest": str(digest), "reason": reason}
                for plan in self.plans
                for tag, digest, reason in plan.left
            ],
        }

    def summary_line(self) -> str:
        """The same for people, in one line."""
        tags = f"{self.tag_count:,} tag{'' if self.tag_count == 1 else 's'}"
        manifests = f"{self.manifest_count:,} manifest{'' if self.manifest_count == 1 else 's'}"
        held = sum(each.is_failure for each in self.held)
        parts = [f"would prune {tags} and {manifests}"]
        if self.deletes and self.excess is None:
            counts = dict.fromkeys(("deleted", "gone already", "left", "failed"), 0)
            for each in self.deletions:
                counts[each.outcome] += 1
            told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
            parts = [f"pruned of {tags} and {manifests}: {told}" if told else "nothing to prune"]
        if held:
            parts.append(f"{held:,} repositor{'y' if held == 1 else 'ies'} not pruned")
        if self.not_over:
            parts.append("not all was looked at")
        return " · ".join(parts)
