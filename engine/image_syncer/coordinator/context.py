"""What the parts of a run share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config import Settings
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.discovery.discovery import Discovery
    from image_syncer.discovery.listings import Listings
    from image_syncer.discovery.publisher import Publisher
    from image_syncer.dispatch.ending import Ending
    from image_syncer.dispatch.transfers import Transfers
    from image_syncer.dispatch.watchdog import Watchdog
    from image_syncer.journal.journal import Journal
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.scheduling import KnownBlobs


class RunContext(Value, frozen=True):
    """The shared parts of one run. `journal` is None for a run that keeps none."""

    settings: Settings
    client: RegistryClient
    endpoints: EndpointBook
    discovery: Discovery
    publisher: Publisher
    listings: Listings
    transfers: Transfers
    ledger: Ledger
    known_blobs: KnownBlobs
    journal: Journal | None
    watchdog: Watchdog
    ending: Ending
