"""A profile: what is special about one kind of registry, as data that generic code asks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Profile"]


@dataclass(frozen=True)
class Profile:
    """What one kind of registry does otherwise than the OCI distribution specification lets expect.

    The defaults are those of a registry that keeps to it. `hosts` are patterns of host names (`*` stands for any part
    of one label or more), which is how a registry is recognised before it was asked anything.
    """

    name: str
    title: str
    hosts: tuple[str, ...] = ()
