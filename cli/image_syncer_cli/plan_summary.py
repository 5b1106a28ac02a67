"""What a plan comes to, in words, for people: as much as fits into 80 columns and one screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from image_syncer_cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer import PlanAccount

__all__ = ["summarize_plan"]

_LABEL = 11
_LARGEST = 5
_SHARED = 3
_REPOSITORIES = 8
_BAR_COLUMNS = 30
_DIGEST_COLUMNS = 19


def summarize_plan(account: PlanAccount) -> Iterator[str]:
    """The lines of the summary."""
    for label, text in _facts(account):
        yield f"{label:<{_LABEL}}{text}"
    for title, rows in (
        ("Sizes of the distinct blobs", _histogram(account)),
        ("Largest blobs", _largest(account)),
        ("Most shared blobs", _shared(account)),
        ("Sources", _repositories(account.sources)),
        ("Destinations", _repositories(account.repositories)),
        ("Published limits", _waits(account)),
    ):
        lines = list(rows)
        if lines:
            yield ""
            yield title
            yield from (f"  {line}" for line in lines)


def _facts(account: PlanAccount) -> Iterator[tuple[str, str]]:
    from image_syncer import Outcome
    from image_syncer.units import format_size

    counts = [f"{account.outcomes[outcome]:,} {outcome}" for outcome in Outcome if account.outcomes.get(outcome)]
    yield "Images", f"{sum(account.outcomes.values()):,}" + (f": {', '.join(counts)}" if counts else "")
    distinct, named = format_size(account.bytes_distinct), format_size(account.bytes_named)
    yield "Blobs", f"{account.blobs:,} distinct, {distinct}; counted for each image, {named}"
    yield "To move", f"{format_size(account.bytes_to_move)} in {account.blobs_to_move:,} blobs"
    yield "Not moved", f"{account.blobs_to_mount:,} mounted, {account.blobs_present:,} already there"
    yield "Requests", f"{sum(account.requests.values()):,} in all"
    for registry, kinds in account.requests_of.items():
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda one: -one[1]))
        yield "", f"{printable(registry)}: {told}"


def _histogram(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    block = "█" if _can_show("█") else "#"
    most = max((each.blobs for each in account.sizes), default=0)
    for each in account.sizes:
        bound = "more" if each.most_bytes is None else f"up to {format_size(each.most_bytes)}"
        bar = block * -(-each.blobs * _BAR_COLUMNS // most)
        yield f"{bound:>15} {each.blobs:>9,} {bar:<{_BAR_COLUMNS}} {format_size(each.size_bytes):>10}"


def _largest(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    for digest, size in account.largest[:_LARGEST]:
        yield f"{format_size(size):>10}  {printable(digest[:_DIGEST_COLUMNS])}"


def _shared(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    for digest, size, images in account.shared[:_SHARED]:
        yield f"{format_size(size):>10}  {printable(digest[:_DIGEST_COLUMNS])}  in {images:,} images"


def _repositories(found: Mapping[str, Any]) -> Iterator[str]:
    from image_syncer.units import format_size

    shares = sorted(found.items(), key=lambda one: (-one[1].size_bytes, one[0]))
    for name, share in shares[:_REPOSITORIES]:
        size = format_size(share.size_bytes)
        yield f"{size:>10} {share.blobs:>7,} blobs {share.images:>7,} images  {printable(name)}"
    if len(shares) > _REPOSITORIES:
        yield f"and {len(shares) - _REPOSITORIES:,} repositories more"


def _waits(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_duration

    for wait in account.waits():
        least = format_duration(wait.seconds)
        yield f"{printable(wait.registry)}: {wait.count:,} {wait.operations} at {wait.rate}: {least} at least"


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
