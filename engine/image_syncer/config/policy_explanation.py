"""What the policies say of an image that a rule means, as far as names tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.policy import refusal_by_name
from image_syncer.config.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config.policy import Policy
    from image_syncer.oci import Reference

__all__ = ["explain_policies"]


def explain_policies(
    policies: Sequence[Policy], source: Reference, destinations: Sequence[Reference]
) -> tuple[list[Reason], list[Reference]]:
    """A reason for each policy that has something to say, and the destinations that names do not close. Where some are
    left, what closes others does not keep the image from being meant.
    """
    refused = {place: found for place in destinations if (found := refusal_by_name(policies, source, place))}
    left = [place for place in destinations if place not in refused]
    reasons = [
        Reason(bool(left), f"policy “{policy.name}”: it does not go to {place}: {why}")
        for place, (policy, why) in refused.items()
    ]
    for policy in policies:
        conditions = list(policy.conditions())
        subject = [str(place) for place in left if policy.holds_for(place)]
        if conditions and subject:
            reasons.append(
                Reason(True, f"policy “{policy.name}”: it goes to {', '.join(subject)} if {' and '.join(conditions)}")
            )
    return reasons, left
