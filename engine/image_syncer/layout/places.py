"""The places of a configuration, open for the time of a run."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.layout.place_error import PlaceError
from image_syncer.oci import is_place
from image_syncer.registry import Network
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from image_syncer.config import Configuration
    from image_syncer.layout.layout_server import LayoutServer

__all__ = ["open_places"]


_AT_A_TIME = 8
"""Gates that are started."""


class _Use(Struct):
    """What a place is to a run."""

    is_source: bool = False
    is_destination: bool = False


@contextmanager
def open_places(configuration: Configuration, *, writes: bool = True) -> Iterator[Configuration]:
    """The configuration with which a run reaches the places that its rules name. They are open until the block is left,
    and what is made of what came, such as an archive, is made then. Without `writes`, destinations are only read, and
    need not be there.

    Places that are open already, since the configuration comes from such a block, are left to that one.

    Raises ConfigurationError where places cannot be used, and at the end where one could not be finished. Where the
    block raises, what came is kept, and nothing is made of it.
    """
    uses = _uses_of(configuration)
    if not uses:
        yield configuration
        return
    # Not before: it brings a server, which takes longer to load than a run in which nothing changed takes in all.
    from image_syncer.layout.lasting_layout_server import LastingLayoutServer
    from image_syncer.layout.sockets import socket_directory
    from image_syncer.layout.sole_image import with_sole_images

    with ExitStack() as stack:
        directory = stack.enter_context(socket_directory())
        servers = [
            LastingLayoutServer(
                registry,
                str(Path(directory) / str(number)),
                writes=use.is_destination and writes,
                must_be_there=use.is_source,
            )
            for number, (registry, use) in enumerate(uses.items())
        ]
        for server in servers:
            stack.callback(server.stop)
        # What is written is made where it is missing: not before all else can be used.
        _start(server for server in servers if not server.writes)
        _start(server for server in servers if server.writes)
        described = {server.registry: server.described for server in servers}
        entries = [RegistryEntry(server.registry, network=Network(unix_socket=server.address)) for server in servers]
        yield replace(
            with_sole_images(configuration, described),
            registries=RegistryBook((*configuration.registries.entries, *entries)),
        )
        _finish(servers)


def _uses_of(configuration: Configuration) -> dict[str, _Use]:
    """The places that rules name and that are not open, each once."""
    uses: dict[str, _Use] = {}
    is_open = {entry.prefix for entry in configuration.registries.entries if entry.network.unix_socket is not None}

    def is_closed(registry: str) -> bool:
        return is_place(registry) and registry not in is_open

    for source, destinations in _sides_of(configuration):
        if is_closed(source):
            uses.setdefault(source, _Use()).is_source = True
        for destination in filter(is_closed, destinations):
            uses.setdefault(destination, _Use()).is_destination = True
    return uses


def _sides_of(configuration: Configuration) -> Iterator[tuple[str, Iterable[str]]]:
    for rule in configuration.rules:
        yield rule.source.registry, (each.repository.registry for each in rule.destinations)
    for catalog in configuration.catalogs:
        yield catalog.registry, (each.registry for each in catalog.destinations)


def _start(servers: Iterable[LayoutServer]) -> None:
    """All at a time, since each waits for a process to begin. Raises ConfigurationError with the problems of all."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        _tell(list(threads.map(lambda server: _problem_of(server, server.start), servers)))


def _finish(servers: Iterable[LayoutServer]) -> None:
    """In this thread, which a signal interrupts: archives take their time. Raises as `_start` does."""
    _tell([_problem_of(server, server.finish) for server in servers])


def _problem_of(server: LayoutServer, act: Callable[[], None]) -> Problem | None:
    try:
        act()
    except PlaceError as error:
        return Problem(server.registry, None, None, error.what, error.mend or None)
    return None


def _tell(found: Iterable[Problem | None]) -> None:
    problems = [problem for problem in found if problem is not None]
    if problems:
        raise ConfigurationError(problems)
