"""How a run went, in a sentence for somebody who was not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer import Report

__all__ = ["verdict"]


def verdict(report: Report) -> tuple[bool, str]:
    """Whether all is well, and the sentence."""
    from image_syncer import Outcome

    outcomes = report.totals.outcomes
    images, failed = report.totals.images, sum(count for one, count in outcomes.items() if one.is_failure)
    if report.internal_error is not None:
        return False, f"✗ A mistake of image-syncer itself: do not rely on this run. {report.internal_error}"
    if report.interrupted is not None:
        return (
            False,
            f"✗ Ended before all was done ({report.interrupted}): {failed:,} of {images:,} images are missing.",
        )
    if failed and report.kind == "verify":
        return False, f"✗ {failed:,} of {images:,} images differ, or could not be checked."
    if failed:
        return False, f"✗ {failed:,} of {images:,} images did not arrive. Their causes, and what to do, are below."
    if report.exit_code:
        return False, f"✗ The run ended with exit code {report.exit_code}."
    planned, skipped = outcomes.get(Outcome.PLANNED, 0), outcomes.get(Outcome.SKIPPED, 0)
    if planned:
        return True, f"✓ Nothing was copied, as asked: {planned:,} of {images:,} images would be."
    if not images:
        return True, "✓ Nothing failed; there was no image."
    if report.kind == "prune":
        return True, "✓ Nothing failed."
    if skipped:
        there = f"{images - skipped:,} of {images:,} images are at their destinations as they are at their sources"
        return True, f"✓ {there}; {skipped:,} skipped."
    if images == 1:
        return True, "✓ The one image is at its destination as it is at its source."
    return True, f"✓ All {images:,} images are at their destinations as they are at their sources."
