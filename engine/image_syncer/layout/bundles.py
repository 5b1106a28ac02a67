"""`export_bundle` and `import_bundle`: images in files that can be carried between networks."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.config import (
    Configuration,
    Destination,
    ReferrerSelection,
    RegistryBook,
    RegistryEntry,
    Rule,
    TagSelection,
)
from image_syncer.config.referrers import MAX_DEPTH
from image_syncer.coordinator.single_requests import find_missing_blobs
from image_syncer.embedded.route import is_repository_name
from image_syncer.errors import ConfigurationError, PlaceError, Problem
from image_syncer.layout.bundle_reading import check_bundle, open_bundle, read_former
from image_syncer.layout.bundle_record import BUNDLE_FILE
from image_syncer.layout.bundle_server import bundle_location, export_server, import_server
from image_syncer.layout.layout_server import socket_directory
from image_syncer.layout.locations import open_places
from image_syncer.layout.packing import UNFINISHED, check_bundle_directory
from image_syncer.layout.tar_index import ArchiveError
from image_syncer.oci import InvalidReference, ManifestFormat, Repository, canonical_registry, parse_repository
from image_syncer.registry import Network
from image_syncer.runs import sync
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from image_syncer.config import Settings
    from image_syncer.config.model import CatalogRule
    from image_syncer.config.policy import Policy
    from image_syncer.control.run_control import RunControl
    from image_syncer.layout.bundle_reading import Bundle
    from image_syncer.layout.bundle_record import BundleRecord
    from image_syncer.layout.bundle_server import BundleServer
    from image_syncer.oci import Digest, Reference
    from image_syncer.telemetry import ImageResult, Report, Snapshot


DEFAULT_PART_BYTES = 4 * 2**30 - 2**20
"""FAT32, which many disks have, allows files of up to one byte less than 4 GiB."""

_OTHER_NAME = "give one of them another repository or tag: the registry of a destination does not count here"
_NOWHERE = "bundle.invalid"  # a reserved name (RFC 2606, section 2)
_MOST_SHOWN = 2  # missing blobs in a message


@contextmanager
def _started(server: BundleServer, directory: Path) -> Iterator[RegistryEntry]:
    """Start the server of a bundle, and yield its registry entry. Raises ConfigurationError."""
    try:
        try:
            server.start()
        except PlaceError as error:
            raise ConfigurationError([Problem(str(directory), None, None, error.what, error.mend or None)]) from None
        yield RegistryEntry(bundle_location(directory), network=Network(unix_socket=server.address))
    finally:
        server.stop()


# Export


class Export(Value, frozen=True):
    """The result of an export: the report of its run, and the bundle's record; None if something failed."""

    report: Report
    bundle: BundleRecord | None


def export_bundle(  # noqa: PLR0913 - public signature
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
    """Write the images of the rules to a bundle in `directory`, in parts of `part_bytes`. Images have the repository
    and tag of their destinations in the rules; the registries of these do not count.

    An interrupted export continues when it is called again; a complete bundle is never changed. Blobs of the former
    bundles `against` (directories, or their bundle.json) are left out. With `settings.dry_run`, nothing is written.
    `control` pauses and changes the run; draining interrupts it.

    Raises ConfigurationError if it cannot begin, or if several images have one name, and ArchiveError if a former
    bundle cannot be read, or this one cannot be finished.
    """
    directory = Path(directory)
    files = [path / BUNDLE_FILE if path.is_dir() else path for path in map(Path, against)]
    read_former(files)
    check_bundle_directory(directory)
    created_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    _check_names(configuration.rules)
    policies = tuple(map(_policy_of_bundles, configuration.policies))
    names = _NamesInBundle(directory, on_image)
    with ExitStack() as stack:
        # Sources may be layouts; the written destinations are not part of this run.
        opened = stack.enter_context(open_places(_to_registry(configuration, _NOWHERE)))
        inward = _to_registry(opened, bundle_location(directory))
        written = directory
        if settings.dry_run:
            written = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="image-syncer-")))
        (written / UNFINISHED).mkdir(parents=True, exist_ok=True)
        socket = Path(stack.enter_context(socket_directory())) / "0"
        server = export_server(written, str(socket), part_bytes=part_bytes, against=files, created_at=created_at)
        entry = stack.enter_context(_started(server, directory))
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
        _finish(server, directory)
    return Export(report, open_bundle(directory).record)


def _finish(server: BundleServer, directory: Path) -> None:
    try:
        server.finish()
    except PlaceError as error:
        again = error.mend or "Run the same export again: what has come is kept."
        raise ArchiveError(f"{directory} is no bundle yet: {error.what}", hint=again) from None


class _NamesInBundle:
    """Finds images that differ only by the registry of their destination, and so have one name in the bundle."""

    def __init__(self, directory: Path, on_image: Callable[[ImageResult], None] | None) -> None:
        self._directory = directory
        self._on_image = on_image
        self._written: dict[str, tuple[str, str]] = {}
        self._problems: list[Problem] = []

    def note(self, result: ImageResult) -> None:
        """Record an image that has ended."""
        digest = result.destination_digest
        if digest is not None:
            source, first = self._written.setdefault(result.destination, (result.source, digest))
            if digest != first:
                name = result.destination.removeprefix(f"{bundle_location(self._directory)}:")
                what = f"{source} and {result.source} have other content, and would both be {name} in the bundle"
                self._problems.append(Problem(str(self._directory), None, None, what, _OTHER_NAME))
        if self._on_image is not None:
            self._on_image(result)

    def check(self) -> None:
        """Raise ConfigurationError if several images have one name."""
        if self._problems:
            raise ConfigurationError(self._problems)


def _to_registry(configuration: Configuration, registry: str) -> Configuration:
    """Move every destination to `registry`, with the same repository."""

    def moved(rule: Rule) -> Rule:
        targets = (replace(each, repository=Repository(registry, each.repository.name)) for each in rule.destinations)
        return replace(rule, destinations=tuple(dict.fromkeys(targets)))

    def moved_catalog(rule: CatalogRule) -> CatalogRule:
        targets = (replace(each, registry=registry) for each in rule.destinations)
        return replace(rule, destinations=tuple(dict.fromkeys(targets)))

    rules, catalogs = map(moved, configuration.rules), map(moved_catalog, configuration.catalogs)
    return replace(configuration, rules=tuple(rules), catalogs=tuple(catalogs))


def _check_names(rules: Sequence[Rule]) -> None:
    """Raise ConfigurationError if two images have one name in the bundle, or one has none."""
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
    """Return the policy for an export, for every destination. Raises ConfigurationError if it names destinations.

    A bundle can go to any registry, so names of destinations cannot be checked.
    """
    if policy.destinations.allow or policy.destinations.deny:
        raise ConfigurationError(
            f"the policy “{policy.name}” names destinations, and a bundle may go to any registry",
            hint="Export with a file whose policies name sources, or say what images must be.",
        )
    return replace(policy, to=())


# Import


class Target(Value, frozen=True):
    """Where a bundle's repositories go: a registry, and the prefix of their names there ("" or "mirror/")."""

    registry: str
    prefix: str

    def repository_for(self, name: str) -> Repository:
        """Return the target of the repository `name`. Raises ConfigurationError if its name is invalid there."""
        try:
            parsed = parse_repository(f"{self.registry}/{self.prefix}{name}")
        except InvalidReference as error:
            raise ConfigurationError(f"{name} cannot go to {self.registry}/{self.prefix}: {error}") from None
        return Repository(self.registry, parsed.name)


def parse_target(text: str) -> Target:
    """Parse `registry.example`, `localhost:5000` or `registry.example/mirror/team`. Raises ValueError."""
    host, _, path = text.rstrip("/").partition("/")
    registry = canonical_registry(host)
    if not any(sign in host for sign in ".:") and host != "localhost":
        raise ValueError(f"“{text}” does not begin with a registry: write registry.example.com/mirror")
    if path:
        parse_repository(f"{registry}/{path}")
    return Target(registry, f"{path}/" if path else "")


class CheckedBundle(Value, frozen=True):
    """A bundle that was read completely and is valid, with former ones."""

    bundle: Bundle
    former: tuple[Bundle, ...]

    @property
    def record(self) -> BundleRecord:
        """The content of the bundle."""
        return self.bundle.record


def check_bundles(
    directory: str | os.PathLike[str],
    former: Sequence[str | os.PathLike[str]] = (),
    *,
    on_bytes: Callable[[int, int], None] = lambda _done, _total: None,
) -> CheckedBundle:
    """Read a bundle completely, and the former ones with the blobs that it leaves out.

    `on_bytes` gets the bytes read so far, and all bytes. Raises ArchiveError if a bundle is damaged or incomplete,
    ConfigurationError if there is none, and OSError.
    """
    bundles = [open_bundle(path) for path in (directory, *former)]
    total = sum(bundle.record.size for bundle in bundles)
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_bytes(done, total)

    for bundle in bundles:
        check_bundle(bundle, count)
    return CheckedBundle(bundles[0], tuple(bundles[1:]))


def import_bundle(  # noqa: PLR0913 - public signature
    checked: CheckedBundle,
    target: Target,
    settings: Settings,
    *,
    known: Configuration | None = None,
    all_referrers: bool = True,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    control: RunControl | None = None,
) -> Report:
    """Copy the images of a bundle to `target`, without unpacking; existing content is not copied again.

    Referrers are copied too, unless `settings.referrers` selects some, or `all_referrers` is False. `known` has the
    registries and the policies, and no rules.

    Raises ArchiveError before anything is written if blobs that the bundle leaves out are neither in a former one nor
    at the target, ConfigurationError if it cannot begin, and the errors of requests to the target.
    """
    known = known or Configuration()
    bundle = checked.bundle
    rules = tuple(_rules(checked.record, bundle_location(bundle.directory), target))
    _check_needed(checked, target, known.registries, settings)
    keeps_format = settings.manifest_format is ManifestFormat.KEEP
    if settings.referrers.is_empty and all_referrers and keeps_format:
        # Tags such as sha256-….sig are images of the bundle themselves.
        settings = replace(settings, referrers=ReferrerSelection(MAX_DEPTH, cosign=False))
    with socket_directory() as sockets:
        former = [each.directory for each in checked.former]
        server = import_server(bundle.directory, str(Path(sockets) / "0"), former=former)
        with _started(server, bundle.directory) as entry:
            configuration = replace(known, rules=rules, registries=RegistryBook((*known.registries.entries, entry)))
            return sync(configuration, settings, on_progress=on_progress, on_image=on_image, control=control)


def _rules(record: BundleRecord, location: str, target: Target) -> Iterator[Rule]:
    tags: dict[str, list[str]] = {}
    for image in record.images:
        if image.tag is not None:
            tags.setdefault(image.repository, []).append(image.tag)
            continue
        destination = Destination(target.repository_for(image.repository), digest=image.digest)
        selection = TagSelection(digest=image.digest)
        yield Rule(Repository(location, image.repository), selection, (destination,), origin=location)
    for name, names in tags.items():
        destination = Destination(target.repository_for(name))
        yield Rule(Repository(location, name), TagSelection(names=tuple(names)), (destination,), origin=location)


def _check_needed(checked: CheckedBundle, target: Target, registries: RegistryBook, settings: Settings) -> None:
    """Raise ArchiveError if blobs that the bundle leaves out are missing at the target."""
    wanted: list[tuple[Repository, Digest]] = [
        (target.repository_for(name), digest)
        for name, digests in checked.record.needed().items()
        for digest in digests
        if not any(bundle.record.blobs.get(digest, (0, None))[1] is not None for bundle in checked.former)
    ]
    missing = find_missing_blobs(wanted, registries, settings)
    if not missing:
        return
    shown = [f"{repository}@{digest}" for repository, digest in missing[:_MOST_SHOWN]]
    more = [f"and {len(missing) - _MOST_SHOWN} more"] if len(missing) > _MOST_SHOWN else []
    needs = ", ".join(identity[:12] for identity in checked.record.needs)
    raise ArchiveError(
        f"the bundle leaves out {len(missing)} blobs that are not at the destination: " + ", ".join(shown + more),
        hint="Nothing was written. Import the former bundle first, to the same place, or name its directory beside this"
        f" one. Its {BUNDLE_FILE} has a SHA-256 that begins with: {needs}",
    )
