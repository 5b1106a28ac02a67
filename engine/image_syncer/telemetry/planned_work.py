"""What a plan says is to be done, as rules for a run that does just that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config import Destination, Rule, TagSelection
from image_syncer.config.model import Pin
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Digest, InvalidPlatform, InvalidReference, parse_reference
from image_syncer.telemetry.run_choices import OwnChoices, RunChoices, own_of, read_choices
from image_syncer.values import as_dict

if TYPE_CHECKING:
    from image_syncer.oci import Reference
    from image_syncer.telemetry.plan_file import PlanFile, PlannedImage

__all__ = ["PlannedWork", "planned_work"]

_HINT = "Give the file that plan --save wrote."


class PlannedWork(RunChoices, frozen=True, kw_only=True):
    """`rules` for the images that a plan would copy, each held to its digests, and what the plan was told."""

    rules: tuple[Rule, ...]


def planned_work(plan: PlanFile) -> PlannedWork:
    """The work of `plan`. Raises ConfigurationError where it names what cannot be read.

    What refers to an image is no rule of its own: it goes with its image, as the plan's settings and rules say.
    """
    images: dict[tuple[Reference, OwnChoices, str | None], list[PlannedImage]] = {}
    for image in plan.planned:
        if image.referrer_of is not None:
            continue
        try:
            Digest(image.source_digest or "")
            key = (parse_reference(image.source), own_of(image.rule or {}), image.source_digest)
        except (InvalidReference, InvalidPlatform, ValueError) as error:
            raise _unusable(image, error) from None
        images.setdefault(key, []).append(image)
    rules = tuple(_rule(source, own, group) for (source, own, _), group in images.items())
    return PlannedWork(rules=rules, **as_dict(read_choices(plan.settings, "the plan", _HINT)))


def _rule(source: Reference, own: OwnChoices, images: list[PlannedImage]) -> Rule:
    digests: dict[str, Digest] = {}
    there: dict[str, Digest | None] = {}
    destinations: list[Destination] = []
    for image in images:
        try:
            destination = _destination_of(image, source)
            digests[image.destination] = Digest(image.digest or "")
            there[image.destination] = Digest(image.replaced_digest) if image.replaced_digest else None
        except ValueError as error:
            raise _unusable(image, error) from None
        tags = () if destination.tag in (None, source.tag) else (str(destination.tag),)
        destinations.append(Destination(destination.repository, tags))
    pinned = Digest(images[0].source_digest or "")
    selection = TagSelection(names=(source.tag,)) if source.tag is not None else TagSelection(digest=source.digest)
    return Rule(
        source.repository,
        selection,
        tuple(destinations),
        own[0],
        origin="the plan",
        referrers=own[1],
        only=own[2],
        pin=Pin(pinned, digests, there),
    )


def _destination_of(image: PlannedImage, source: Reference) -> Reference:
    """Raises ValueError where it is none under which the run would look for what it is held to."""
    destination = parse_reference(image.destination)
    if source.tag is not None and destination.tag is None:
        raise ValueError(f"its destination {image.destination} has no tag")
    if source.tag is not None and destination.digest is not None:
        raise ValueError(f"its destination {image.destination} has a digest beside the tag")
    return destination


def _unusable(image: PlannedImage, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the plan has an image that cannot be copied: {image.source}: {error}", hint=_HINT)
