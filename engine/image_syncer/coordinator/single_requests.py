"""Answers without a run: the rule that selects an image, the effective configuration, missing blobs, a login."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from typing import TYPE_CHECKING, Any

from image_syncer.config import RegistryBook, Settings
from image_syncer.config.explanation import SeenTags, explain_image, tags_to_date
from image_syncer.coordinator.run import run_in_loop
from image_syncer.credentials import CredentialSource, Found
from image_syncer.discovery.credential_lookup import CredentialLookup
from image_syncer.discovery.discovery import Discovery
from image_syncer.discovery.listings import Listings
from image_syncer.discovery.registry_access import OwnApi, RegistryAccess
from image_syncer.errors import AuthenticationError, ConfigurationError, Origin, SyncError, keep_out
from image_syncer.net import (
    CurlDriver,
    EndpointBook,
    OneCredential,
    Reach,
    RegistryClient,
    RetryRules,
    Throttle,
    Timeouts,
    TokenBroker,
    Transport,
)
from image_syncer.oci import InvalidReference, Repository, parse_reference
from image_syncer.registry import Operation, build_ping, profile_to_text, recognise_host
from image_syncer.scheduling import ONCE, decide_policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.config import Configuration
    from image_syncer.config.explanation import Explanation
    from image_syncer.credentials.login import LoginPlace
    from image_syncer.oci import Digest, Reference
    from image_syncer.registry import Credential


_OK = 200
_FEW_CONNECTIONS = 4
_MANY_CONNECTIONS = 32
_AT_ONCE = 64
_TIMES = ("connect_timeout_s", "stall_timeout_s", "answer_timeout_s", "longest_wait_s", "give_up_after_s")


def explain(configuration: Configuration, image: str, settings: Settings) -> Explanation:
    """Return what each rule says of `image` ("docker.io/library/nginx:1.27"), and why.

    A registry is asked only for its list of tags, where a rule takes the newest of them, and for the times of images,
    where these decide. Raises ConfigurationError where `image` is no reference, and other `SyncError`s of registries.
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
    driver, source = CurlDriver(connections=_FEW_CONNECTIONS), CredentialSource(os.environ)
    try:
        transport = _transport(driver, settings)
        policies, lookup = decide_policies(settings), CredentialLookup(source, registries)
        endpoints = EndpointBook(transport, registries, retry=policies.read, chance=random.random)
        broker = TokenBroker(transport, lookup, retry=policies.token, chance=random.random)
        client = RegistryClient(transport, broker, Throttle(), RetryRules(policies.read, random.random))
        own_api = OwnApi(client, lookup, policies.read)
        listings = Listings(client, endpoints, own_api)
        listed = [tag async for tags, _last in listings.tags(image.repository) for tag in tags]
        wanted = tags_to_date(configuration, image, listed)
        times = await listings.times.find(image.repository, wanted) if wanted else None
        return explain_image(configuration, image, SeenTags(listed, times, time.time()))
    finally:
        source.close()
        driver.close()


def find_missing_blobs(
    wanted: Sequence[tuple[Repository, Digest]], registries: RegistryBook, settings: Settings
) -> list[tuple[Repository, Digest]]:
    """Return those of `wanted` that registries lack, in their order: a HEAD for each. Raises SyncError where a registry
    does not answer.
    """
    return run_in_loop(_find(wanted, registries, settings)) if wanted else []


async def _find(
    wanted: Sequence[tuple[Repository, Digest]], registries: RegistryBook, settings: Settings
) -> list[tuple[Repository, Digest]]:
    source = CredentialSource(os.environ)
    access = RegistryAccess(settings, registries, source, decide_policies(settings), connections=_MANY_CONNECTIONS)
    discovery = Discovery(access.client, access.endpoints)

    async def is_missing(repository: Repository, digest: Digest) -> bool:
        try:
            return await discovery.blob_size(repository, digest) is None
        except SyncError as error:
            raise error.located(repository=str(repository), digest=str(digest)) from None

    try:
        missing: list[tuple[Repository, Digest]] = []
        for begin in range(0, len(wanted), _AT_ONCE):
            batch = wanted[begin : begin + _AT_ONCE]
            tasks = [asyncio.ensure_future(is_missing(*one)) for one in batch]
            try:
                missing += itertools.compress(batch, await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
        return missing
    finally:
        await access.health.close()
        source.close()
        access.driver.close()


def settings_in_force(configuration: Configuration, settings: Settings) -> dict[str, Any]:
    """Return what a run with these settings would have, without secrets; no network is reached, no helper runs.

    `policies` are by class of operations (see `RetryPolicies`), `times` in seconds, `rate` as it is written (None: no
    limit), `registries` the settings of the host of each repository that a rule names, and the source of its
    credential. Raises ConfigurationError where network options cannot be used.
    """
    return {
        "policies": decide_policies(settings).as_data(),
        "times": {name: getattr(settings, name) for name in _TIMES},
        "rate": str(settings.rate or "") or None,
        "registries": list(_registries(configuration)),
    }


def _registries(configuration: Configuration) -> Iterable[dict[str, Any]]:
    source, book = CredentialSource(os.environ), configuration.registries
    reach = Reach(os.environ)
    seen = set()
    for repository in _repositories(configuration):
        described = source.describe(repository, book)
        found = {"registry": repository.registry, "credential": described.source, "credential_file": described.file}
        if (key := tuple(found.values())) in seen:
            continue
        seen.add(key)
        host = book.host_settings(repository.registry)
        yield {
            **found,
            "insecure": host.insecure,
            "skip_tls_verify": host.skip_tls_verify,
            "ca_file": host.ca_file,
            "max_connections": host.max_connections,
            "pieces_above": host.pieces_above,
            "requests_per_s": host.limits.requests_per_s,
            "rate": str(host.limits.rate or "") or None,
            "mirrors": list(book.mirrors_written(repository)),
            "allow_local_redirects": host.redirects.local,
            "allow_plain_redirects": host.redirects.plain,
            "network": reach.complete(repository.registry, host.network, ca_file=host.ca_file).described(),
            "profile": profile_to_text(host.profile or recognise_host(repository.registry)),
        }


def _repositories(configuration: Configuration) -> Iterable[Repository]:
    for rule in configuration.rules:
        yield rule.source
        for destination in rule.destinations:
            yield destination.repository
    for catalog in configuration.catalogs:
        for registry in (catalog.registry, *(template.registry for template in catalog.destinations)):
            yield Repository(registry, "_catalog")


def check_login(
    place: LoginPlace,
    credential: Credential,
    *,
    registries: RegistryBook | None = None,
    settings: Settings | None = None,
) -> bool:
    """Ask the registry of `place` for `/v2/` with the credential, as docker does. Return False where it lets everybody
    in, so that the credential was not checked.

    `registries` has the network options of the host. Raises AuthenticationError where the registry or its token service
    refuses, and other `SyncError`s where they do not answer.
    """
    keep_out(credential.password, credential.identity_token)
    return run_in_loop(_check(place.registry, credential, registries or RegistryBook(), settings or Settings()))


async def _check(registry: str, credential: Credential, registries: RegistryBook, settings: Settings) -> bool:
    driver = CurlDriver(connections=_FEW_CONNECTIONS)
    try:
        transport = _transport(driver, settings)
        endpoints = EndpointBook(transport, registries, retry=ONCE, chance=random.random)
        endpoint = await endpoints.resolve(registry, Origin.LOCAL)
        broker = TokenBroker(transport, OneCredential(Found(credential, "this login")))
        client = RegistryClient(transport, broker, Throttle(), RetryRules(ONCE, random.random))
        request = build_ping(endpoint)
        try:
            response = await client.exchange(request, endpoint, origin=Origin.LOCAL)
            if response.status != _OK:
                raise client.failure(response, request, endpoint, Origin.LOCAL)
        except AuthenticationError as error:
            if error.status is None:
                raise
            hint = f"Nothing was kept. Check the user name and the password for {registry}."
            raise error.changed(hint=hint) from error.__cause__
        return transport.requests[Operation.PING.value] > 1
    finally:
        driver.close()


def _transport(driver: CurlDriver, settings: Settings) -> Transport:
    return Transport(driver, Timeouts(connect_s=settings.connect_timeout_s, stall_s=settings.stall_timeout_s))
