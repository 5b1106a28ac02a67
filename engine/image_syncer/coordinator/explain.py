"""Which rule selects an image, or why none does; a registry is asked only where its list of tags decides."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from image_syncer.config.explanation import Seen, explain_image, tags_to_date
from image_syncer.coordinator.credential_lookup import CredentialLookup
from image_syncer.coordinator.listings import Listings
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.own_api import OwnApi
from image_syncer.credentials import CredentialSource
from image_syncer.errors import ConfigurationError
from image_syncer.net import CurlDriver, EndpointBook, RegistryClient, Throttle, Timeouts, TokenBroker, Transport
from image_syncer.oci import InvalidReference, parse_reference
from image_syncer.planning import decide_policies

if TYPE_CHECKING:
    from image_syncer.config import Configuration, Settings
    from image_syncer.config.explanation import Explanation
    from image_syncer.oci import Reference

__all__ = ["explain"]

_CONNECTIONS = 4


def explain(configuration: Configuration, image: str, settings: Settings) -> Explanation:
    """What each rule says of `image` ("docker.io/library/nginx:1.27"), and why.

    No registry is asked, but for its list of tags where a rule takes the newest of them, and when images were created
    where that decides. Raises ConfigurationError
    where `image` is no reference, and other `SyncError`s where that list cannot be had.
    """
    try:
        reference = parse_reference(image)
    except InvalidReference as error:
        raise ConfigurationError(str(error), hint="Name one image: quay.io/org/app:v1") from None
    found = explain_image(configuration, reference)
    if not found.is_open:
        return found
    return run_in_loop(_look(configuration, reference, settings))


async def _look(configuration: Configuration, image: Reference, settings: Settings) -> Explanation:
    registries = configuration.registries
    driver, source = CurlDriver(connections=_CONNECTIONS), CredentialSource(os.environ)
    try:
        transport = Transport(driver, Timeouts(connect_s=settings.connect_timeout_s, stall_s=settings.stall_timeout_s))
        policies, lookup = decide_policies(settings), CredentialLookup(source, registries)
        endpoints = EndpointBook(transport, registries, retry=policies.read, chance=random.random)
        broker = TokenBroker(transport, lookup, retry=policies.token, chance=random.random)
        client = RegistryClient(transport, broker, Throttle(), retry=policies.read, chance=random.random)
        own_api = OwnApi(client, lookup, retry=policies.read, chance=random.random)
        listings = Listings(client, endpoints, own_api)
        listed = [tag async for tags, _last in listings.tags(image.repository) for tag in tags]
        wanted = tags_to_date(configuration, image, listed)
        times = await listings.times.find(image.repository, wanted) if wanted else None
        return explain_image(configuration, image, Seen(listed, times, time.time()))
    finally:
        source.close()
        driver.close()
