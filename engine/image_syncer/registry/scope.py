"""The rights that a token is asked for (Docker Registry v2 authentication, "Token scope documentation")."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Repository

__all__ = ["CATALOG_SCOPE", "Scope", "list_scope", "pull_scope", "push_scope"]

_KEPT = 1024
"""Scopes of so many repositories are made once: each request carries one."""


class Scope(Value, frozen=True):
    """Some actions on one resource: for a repository its name without the registry, and "pull" or "push"."""

    name: str
    actions: tuple[str, ...]
    resource: str = "repository"

    def covers(self, other: Scope) -> bool:
        """Whether a token for this scope also allows what `other` asks for."""
        return (self.resource, self.name) == (other.resource, other.name) and set(other.actions) <= set(self.actions)

    def __str__(self) -> str:
        return f"{self.resource}:{self.name}:{','.join(self.actions)}"


CATALOG_SCOPE = Scope("catalog", ("*",), "registry")


def pull_scope(repository: Repository) -> Scope:
    """The right to read `repository`."""
    return _scope_of(repository.name, "pull")


def list_scope(repository: Repository, actions: tuple[str, ...]) -> Scope:
    """The right to list the tags of `repository`, by whatever names the registry knows it."""
    return _scope_of(repository.name, *actions)


def push_scope(repository: Repository) -> Scope:
    """The right to write `repository`, and to read it; "push" comes first, because some servers read one
    action only.
    """
    return _scope_of(repository.name, "push", "pull")


@lru_cache(maxsize=_KEPT)
def _scope_of(name: str, *actions: str) -> Scope:
    return Scope(name, actions)
