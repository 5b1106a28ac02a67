"""What is in force: the policies, time-outs and registries that a run with these settings would have, as plain data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from image_syncer.credentials import CredentialSource
from image_syncer.net import Reach
from image_syncer.oci import Repository
from image_syncer.planning import decide_policies
from image_syncer.registry import profile_to_text, recognise_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config import Configuration, Settings

__all__ = ["settings_in_force"]

_TIMES = ("connect_timeout_s", "stall_timeout_s", "answer_timeout_s", "longest_wait_s", "give_up_after_s")


def settings_in_force(configuration: Configuration, settings: Settings) -> dict[str, Any]:
    """`policies` by class of operations (see `RetryPolicies`), `times` in seconds, `rate` as it is written (None: no
    limit), and `registries`: what is set for the host of each repository that a rule names, and which source its
    credential would come from. Never a secret; reaches no network and runs no helper. Raises
    ConfigurationError where a network that was asked for cannot be.
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
    told = set()
    for repository in _repositories(configuration):
        described = source.describe(repository, book)
        found = {
            "registry": repository.registry,
            "credential": described.source,
            "credential_file": described.file,
        }
        if (key := tuple(found.values())) in told:
            continue
        told.add(key)
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
