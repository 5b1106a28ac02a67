"""Tags that move at the source while they are copied.

What was planned is what arrives: manifests are read by the digest that the tag had when it was asked for, and all that
is under them by theirs. Whoever waited long for it may want to know that there is something newer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.oci import Digest

__all__ = ["ask_whether_moved"]

ASK_AFTER_S = 60.0
"""A copy that took less is not worth a request; two runs of a schedule are further apart."""
ANSWER_WITHIN_S = 15.0
"""The image has arrived, and its outcome does not wait longer for what is only good to know."""

_log = get_logger(__name__)


async def ask_whether_moved(discovery: Discovery, image: OpenImage, copied: Digest, *, surely: bool) -> dict[str, str]:
    """`source_moved`, the digest that the source's tag has now, where that is no longer `copied`; else nothing.

    It costs a HEAD, where the image took long, or `surely`. Where nobody can tell, nothing is said.
    """
    if image.source.digest is not None or not (surely or image.seconds >= ASK_AFTER_S):
        return {}
    try:
        head = await asyncio.wait_for(discovery.head_source(image.source), ANSWER_WITHIN_S)
    except (SyncError, asyncio.TimeoutError) as error:
        _log.info("whether the tag has moved is not known", source=str(image.source), reason=str(error))
        return {}
    return {} if head.digest in (None, copied) else {"source_moved": str(head.digest)}
