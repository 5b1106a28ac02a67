"""The settings of a run, as its report tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config import Settings
    from image_syncer.config.policy import Policy
    from image_syncer.planning import Resources

__all__ = ["told_settings"]


def told_settings(settings: Settings, resources: Resources, policies: Sequence[Policy] = ()) -> dict[str, Any]:
    """What the report says of `settings`: enough to do again what was left undone (`retry --report`); of `policies`,
    their names.
    """
    wanted = settings.platform_filter
    return {
        **resources.as_data(),
        "retries": settings.retries,
        "force": settings.force,
        "on_conflict": str(settings.on_conflict),
        "referrers": str(settings.referrers),
        "verify": settings.verify,
        "dry_run": settings.dry_run,
        "rate": str(settings.rate or "") or None,
        "missing_platform": str(settings.missing_platform),
        "foreign_layers": str(settings.foreign_layers),
        "format": str(settings.manifest_format),
        "platforms": str(wanted) or None,
        "os": list(wanted.os_names),
        "arch": list(wanted.architectures),
        "policies": [policy.name for policy in policies],
    }
