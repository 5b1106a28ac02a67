"""`export_bundle`: what rules name, into a bundle that can be carried over a gap."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.coordinator import sync
from image_syncer.embedded.route import is_repository_name
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.layout.bundle_catalogue import read_former
from image_syncer.layout.bundle_reading import open_bundle
from image_syncer.layout.bundle_record import BUNDLE_FILE
from image_syncer.layout.bundle_server import bundle_place, export_server
from image_syncer.layout.packing import UNFINISHED, check_bundle_directory
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.places import open_places
from image_syncer.layout.sockets import socket_directory
from image_syncer.layout.tar_parts import ArchiveError
from image_syncer.oci import Repository
from image_syncer.registry import Network
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from image_syncer.config import Configuration, Rule, Settings
    from image_syncer.config.catalogs import CatalogRule
    from image_syncer.config.policy import Policy
    from image_syncer.coordinator.control import RunControl
    from image_syncer.layout.bundle_record import BundleRecord
    from image_syncer.oci import Reference
    from image_syncer.telemetry import ImageResult, Report, Snapshot

__all__ = ["DEFAULT_PART_BYTES", "MIN_PART_BYTES", "Export", "export_bundle"]

DEFAULT_PART_BYTES = 4 * 2**30 - 2**20
"""FAT32, which many a stick and disk has, takes files up to one byte less than 4 GiB."""
MIN_PART_BYTES = 2**20
"""Below, there would be more parts than anybody wants to count."""

_OTHER_NAME = "give one of them another repository or tag: the registry of a destination does not count here"
_NOWHERE = "bundle.invalid"  # a name that nobody can have (RFC 2606, section 2)


class Export(Value, frozen=True):
    """What came of an export: the report of its run, and what is in the bundle; None where there is no bundle yet,
    since something failed.
    """

    report: Report
    bundle: BundleRecord | None


def export_bundle(
    configuration: Configuration,
    settings: Settings,
    directory: str | os.PathLike[str],
    *,
    part_bytes: int = DEFAULT_PART_BYTES,
    against: Sequence[str | os.PathLike[str]] = (),
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    control: RunControl | None = None,
) -> Export:
    """Bring what the rules name into a bundle in `directory`, in parts of `part_bytes`. Images have the repository and
    tag there that they have at the rules' destinations; the registries of these do not count.

    An export that was cut off goes on when it is called again; a bundle that is whole is never changed. Blobs that one
    of the former bundles `against` (directories, or their bundle.json) has are left out. With `settings.dry_run`,
    nothing is written. By `control` it is paused and otherwise changed; drained, it is cut off.

    Raises ConfigurationError where it cannot begin, or several images came under one name, ArchiveError where a former
    bundle cannot be read, or this one not be ended.
    """
    directory = Path(directory)
    files = [path / BUNDLE_FILE if path.is_dir() else path for path in map(Path, against)]
    read_former(files)
    check_bundle_directory(directory)
    created_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    _check_names(configuration.rules)
    policies = tuple(map(_policy_of_bundles, configuration.policies))
    with ExitStack() as stack:
        # Sources may be places themselves; the destinations that were written are none of this run.
        opened = stack.enter_context(open_places(_to_registry(configuration, _NOWHERE)))
        inward = _to_registry(opened, bundle_place(directory))
        place = directory
        if settings.dry_run:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="image-syncer-")))
        (place / UNFINISHED).mkdir(parents=True, exist_ok=True)
        socket = Path(stack.enter_context(socket_directory())) / "0"
        server = export_server(place, str(socket), part_bytes=part_bytes, against=files, created_at=created_at)
        stack.callback(server.stop)
        try:
            server.start()
        except PlaceError as error:
            raise ConfigurationError([Problem(str(directory), None, None, error.what, error.mend or None)]) from None
        entry = RegistryEntry(bundle_place(directory), network=Network(unix_socket=server.address))
        names = _NamesInBundle(directory, on_image)
        report = sync(
            replace(inward, registries=RegistryBook((*inward.registries.entries, entry)), policies=policies),
            replace(settings, state_path=None, trust_state=False),
            on_progress=on_progress,
            on_image=names.note,
            control=control,
        )
        names.check()
        if settings.dry_run or report.exit_code != 0:
            return Export(report, None)
        try:
            server.finish()
        except PlaceError as error:
            again = error.mend or "Run the same export again: what has come is kept."
            raise ArchiveError(f"{directory} is no bundle yet: {error.what}", hint=again) from None
    return Export(report, open_bundle(directory).record)


class _NamesInBundle:
    """What came under each name: destinations that differ by their registry alone are one in a bundle, and which of two
    images it would have is chance.
    """

    def __init__(self, directory: Path, on_image: Callable[[ImageResult], None] | None) -> None:
        self._origin = str(directory)
        self._on_image = on_image
        self._written: dict[str, tuple[str, str]] = {}
        self._problems: list[Problem] = []

    def note(self, result: ImageResult) -> None:
        """An image has ended."""
        digest = result.destination_digest
        if digest is not None:
            source, first = self._written.setdefault(result.destination, (result.source, digest))
            if digest != first:
                name = result.destination.removeprefix(f"{bundle_place(Path(self._origin))}:")
                what = f"{source} and {result.source} have other content, and would both be {name} in the bundle"
                self._problems.append(Problem(self._origin, None, None, what, _OTHER_NAME))
        if self._on_image is not None:
            self._on_image(result)

    def check(self) -> None:
        """Raises ConfigurationError where several images have one name."""
        if self._problems:
            raise ConfigurationError(self._problems)


def _to_registry(configuration: Configuration, registry: str) -> Configuration:
    """The same with every destination in `registry`, under the name that it has in its own."""

    def moved(rule: Rule) -> Rule:
        places = (replace(each, repository=Repository(registry, each.repository.name)) for each in rule.destinations)
        return replace(rule, destinations=tuple(dict.fromkeys(places)))

    def moved_catalog(rule: CatalogRule) -> CatalogRule:
        places = (replace(each, registry=registry) for each in rule.destinations)
        return replace(rule, destinations=tuple(dict.fromkeys(places)))

    return replace(
        configuration,
        rules=tuple(map(moved, configuration.rules)),
        catalogs=tuple(map(moved_catalog, configuration.catalogs)),
    )


def _check_names(rules: Sequence[Rule]) -> None:
    """Raises ConfigurationError where two images would have one name in the bundle, or one would have none."""
    written: dict[tuple[str, str | None], tuple[Reference, Rule]] = {}
    problems = []
    for rule in rules:
        for name in {each.repository.name for each in rule.destinations}:
            if not is_repository_name(name):
                what = f"{rule.source} would be “{name}” in the bundle, which is no repository"
                problems.append(Problem(rule.origin, None, None, what, "write a repository in the destination"))
        for source, target in () if rule.tags.needs_listing else rule.pairs():
            name = target.repository.name
            other, first = written.setdefault((name, target.tag), (source, rule))
            if other != source and target.digest is None:
                what = f"{source} and {other} ({first.origin}) would both be {name}:{target.tag} in the bundle"
                problems.append(Problem(rule.origin, None, None, what, _OTHER_NAME))
    if problems:
        raise ConfigurationError(problems)


def _policy_of_bundles(policy: Policy) -> Policy:
    """The policy for an export: where a bundle will go, nobody knows yet, so what holds for some places holds for it.
    Raises ConfigurationError where the policy names destinations, which cannot be held against a bundle.
    """
    if policy.destinations.allow or policy.destinations.deny:
        raise ConfigurationError(
            f"the policy “{policy.name}” names destinations, and a bundle may go to any registry",
            hint="Export with a file whose policies name sources, or say what images must be.",
        )
    return replace(policy, to=())
