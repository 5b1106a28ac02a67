"""What a run was told of the form in which images arrive, read back from what it wrote, so that another run does the
same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config import ForeignLayers, MissingPlatform, Only
from image_syncer.config.conflicts import OnConflict, parse_on_conflict
from image_syncer.config.referrers import ReferrerSelection, parse_referrer_selection
from image_syncer.errors import ConfigurationError
from image_syncer.oci import ManifestFormat, Platform, PlatformFilter, parse_platform
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config import Configuration

__all__ = ["OwnChoices", "RunChoices", "own_of", "read_choices", "texts_of"]

OwnChoices = tuple[tuple[Platform, ...], ReferrerSelection | None, Only]
"""What a rule has of its own, beside its names: platforms, referrers, and which of its tags are copied."""
_MOST_NAMED = 3
_OLD_HINT = "The release that wrote it did not note its --os and --arch: give them again."


class RunChoices(Value, frozen=True, kw_only=True):
    """The settings of a run which matter for what arrives.

    `platform_filter` is None where the file does not say it, though there was one. `policies` are the names of those
    that the run had.
    """

    platform_filter: PlatformFilter | None
    force: bool
    on_conflict: OnConflict
    missing_platform: MissingPlatform
    foreign_layers: ForeignLayers
    manifest_format: ManifestFormat
    referrers: ReferrerSelection
    policies: tuple[str, ...] = ()

    def check_policies(self, given: Configuration) -> None:
        """Raises ConfigurationError where the run had policies, and nobody is asked now: what was refused would go."""
        if self.policies and not given.policies:
            names = ", ".join(f"“{name}”" for name in self.policies[:_MOST_NAMED])
            raise ConfigurationError(
                f"the run had policies ({names}), and what is given now has none",
                hint="Give the file that has them: --config FILE, or --auth FILE.",
            )

    def filter_or(self, given: PlatformFilter) -> PlatformFilter:
        """The filter of the command line where one was given, else that of the run. Raises ConfigurationError where
        neither is known.
        """
        if not given.is_empty:
            return given
        if self.platform_filter is None:
            raise ConfigurationError("the report does not say which platforms were wanted", hint=_OLD_HINT)
        return self.platform_filter


def read_choices(settings: Mapping[str, Any], noun: str, hint: str) -> RunChoices:
    """The choices among the `settings` of a file that `noun` names. Raises ConfigurationError where they cannot be
    used.
    """
    try:
        # Of an older release: the only ones that there were.
        return RunChoices(
            platform_filter=_filter(settings),
            force=settings.get("force") is True,
            on_conflict=parse_on_conflict(str(settings.get("on_conflict", "overwrite"))),
            missing_platform=MissingPlatform(settings.get("missing_platform", "skip")),
            foreign_layers=ForeignLayers(settings.get("foreign_layers", "leave")),
            manifest_format=ManifestFormat(settings.get("format", "keep")),
            referrers=parse_referrer_selection(str(settings.get("referrers", "none"))),
            policies=texts_of(settings, "policies"),
        )
    except ValueError as error:
        raise ConfigurationError(f"{noun}'s settings cannot be used: {error}", hint=hint) from None


def own_of(facts: Mapping[str, Any]) -> OwnChoices:
    """What the `rule` of an image in a file says. Raises ValueError, or InvalidPlatform, where it cannot be read."""
    platforms = tuple(parse_platform(name) for name in texts_of(facts, "platforms"))
    referrers = facts.get("referrers")
    only = Only(facts.get("only", "all"))
    return platforms, None if referrers is None else parse_referrer_selection(str(referrers)), only


def texts_of(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a list in a file; empty where it is not there. Raises ValueError where it is something else."""
    value = data.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name} is no list of texts")
    return tuple(value)


def _filter(settings: Mapping[str, Any]) -> PlatformFilter | None:
    if "os" not in settings and "arch" not in settings:
        return None if settings.get("platforms") else PlatformFilter()
    return PlatformFilter(os_names=texts_of(settings, "os"), architectures=texts_of(settings, "arch"))
