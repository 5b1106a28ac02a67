"""The keys of a registry's entry that say how its host is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry import DIRECT, Network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.entry_fields import EntryFields

__all__ = ["NETWORK_KEYS", "merge_networks", "read_network"]

NETWORK_KEYS: tuple[str, ...] = ()


def read_network(_entry: EntryFields) -> Network:
    """What the entry says of the network."""
    return DIRECT


def merge_networks(networks: Iterable[Network]) -> Network:
    """The network of a host out of those of all its entries."""
    return next((network for network in networks if not network.is_default), DIRECT)
