"""What an earlier run, or a plan, was told of the form in which images arrive: it holds where nothing else is given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer import PlannedWork, Unfinished
    from image_syncer_cli.options import RunOptions

__all__ = ["with_choices"]


def with_choices(given: RunOptions, told: PlannedWork | Unfinished) -> RunOptions:
    """`given`, and what was `told` then for all that is not given now."""
    wanted = told.filter_or(given.build_settings().platform_filter)
    return replace(
        given,
        os_names=wanted.os_names,
        architectures=wanted.architectures,
        force=given.force or told.force,
        missing_platform=given.missing_platform or str(told.missing_platform),
        foreign_layers=given.foreign_layers or str(told.foreign_layers),
        manifest_format=given.manifest_format or str(told.manifest_format),
        on_conflict=given.on_conflict or str(told.on_conflict),
        referrers=given.referrers or str(told.referrers),
    )
