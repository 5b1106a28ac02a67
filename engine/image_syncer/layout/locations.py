"""Opens the layouts and archives of a configuration for a run.

A source that names only a layout ("oci:DIR") means its only image.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from image_syncer.config import SOLE_IMAGE, RegistryBook, RegistryEntry, TagSelection
from image_syncer.errors import ConfigurationError, PlaceError, Problem
from image_syncer.oci import Digest, Repository, is_place
from image_syncer.registry import Network
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from image_syncer.config import Configuration, Rule
    from image_syncer.layout.layout_server import LayoutServer


_AT_A_TIME = 8  # servers that are started


class _Use(Struct):
    """How a run uses a layout."""

    is_source: bool = False
    is_destination: bool = False


@contextmanager
def open_places(configuration: Configuration, *, writes: bool = True) -> Iterator[Configuration]:
    """Yield the configuration with which a run reaches the layouts and archives that its rules name.

    At the end of the block, archives are written, unless it raises; what came is kept then. Without `writes`,
    destinations are only read, and may be missing. Layouts that an enclosing block has opened are left to it. Raises
    ConfigurationError if one cannot be used or, at the end, cannot be finished.
    """
    uses = _uses_of(configuration)
    if not uses:
        yield configuration
        return
    # Not at the top: the server takes longer to load than a whole run without changes.
    from image_syncer.layout.layout_server import LastingLayoutServer, socket_directory

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
        # Written layouts are created, so only after the others have proved usable.
        _start(server for server in servers if not server.writes)
        _start(server for server in servers if server.writes)
        described = {server.registry: server.described for server in servers}
        entries = [RegistryEntry(server.registry, network=Network(unix_socket=server.address)) for server in servers]
        yield replace(
            _with_sole_images(configuration, described),
            registries=RegistryBook((*configuration.registries.entries, *entries)),
        )
        _finish(servers)


def _uses_of(configuration: Configuration) -> dict[str, _Use]:
    """Return the layouts that rules name and that are not open."""
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


def _with_sole_images(configuration: Configuration, described: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """Name the only image of a layout in the rules that mean it; `described` has the description of each layout.

    Raises ConfigurationError if a layout has several images, or none.
    """
    rules, problems = [], []
    for rule in configuration.rules:
        description = described[rule.source.registry] if rule.tags.names == SOLE_IMAGE else None
        if description is None:
            rules.append(rule)
        elif description["sole"] is None:
            problems.append(_problem(rule, description))
        else:
            rules.append(_resolved(rule, description["sole"]))
    if problems:
        raise ConfigurationError(problems)
    return replace(configuration, rules=tuple(rules))


def _resolved(rule: Rule, sole: Mapping[str, Any]) -> Rule:
    source = Repository(rule.source.registry, sole["repository"])
    if sole["tag"] is not None:
        return replace(rule, source=source, tags=TagSelection(names=(sole["tag"],)))
    return replace(rule, source=source, tags=TagSelection(digest=Digest(sole["digest"])))


def _problem(rule: Rule, description: Mapping[str, Any]) -> Problem:
    layout, names = rule.source.registry, description["names"]
    if not description["manifests"]:
        return Problem(layout, None, None, "there is no image in it")
    what = f"there are {description['manifests']} images in it, and the source does not say which"
    if not names:
        return Problem(layout, None, None, f"{what}; none has a name", f"write {layout}@DIGEST, see its index.json")
    return Problem(layout, None, None, f"{what}: {', '.join(names)}", f"write {layout}:{names[0]}")


def _start(servers: Iterable[LayoutServer]) -> None:
    """Start the servers in threads, since each waits for a process. Raises ConfigurationError with all problems."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        _raise_all(list(threads.map(lambda server: _problem_of(server, server.start), servers)))


def _finish(servers: Iterable[LayoutServer]) -> None:
    """Finish the servers in this thread, which a signal interrupts. Raises ConfigurationError with all problems."""
    _raise_all([_problem_of(server, server.finish) for server in servers])


def _problem_of(server: LayoutServer, act: Callable[[], None]) -> Problem | None:
    try:
        act()
    except PlaceError as error:
        return Problem(server.registry, None, None, error.what, error.mend or None)
    return None


def _raise_all(found: Iterable[Problem | None]) -> None:
    problems = [problem for problem in found if problem is not None]
    if problems:
        raise ConfigurationError(problems)
