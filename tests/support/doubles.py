"""Doubles of registries for tests that ask them with raw requests."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from image_syncer.embedded import DOUBLES, PASSWORD, serve_in_thread
from support.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.embedded import EmbeddedRegistry


@contextmanager
def serve_double(
    kind: str, *, user: str | None = None, access: bool = True, **changes: object
) -> Iterator[tuple[EmbeddedRegistry, Client]]:
    """A running double whose behaviour has `changes`, and a client of it, which logs in as `user` by Basic; without
    `access` nobody is asked who he is.
    """
    behaviour = replace(DOUBLES[kind].behaviour, **changes)
    if not access:
        behaviour = replace(behaviour, users={}, bearer=None, anonymous=())
    with serve_in_thread(behaviour=behaviour) as registry:
        credential = None if user is None else (user, PASSWORD)
        with Client(registry.url, credential=credential) as client:
            yield registry, client


def basic(user: str) -> str:
    """The value of Authorization by which `user` logs in."""
    return "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
