"""`import_bundle`: what a bundle has, into a registry. Everything is checked before anything is written anywhere."""

from __future__ import annotations

from contextlib import ExitStack
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
from image_syncer.coordinator import sync
from image_syncer.coordinator.presence import find_missing_blobs
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.layout.bundle_reading import check_bundle, open_bundle
from image_syncer.layout.bundle_record import BUNDLE_FILE
from image_syncer.layout.bundle_server import bundle_place, import_server
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.sockets import socket_directory
from image_syncer.layout.tar_parts import ArchiveError
from image_syncer.oci import InvalidReference, ManifestFormat, Repository, canonical_registry, parse_repository
from image_syncer.registry import Network
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from image_syncer.config import Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.layout.bundle_reading import Bundle
    from image_syncer.layout.bundle_record import BundleRecord
    from image_syncer.oci import Digest
    from image_syncer.telemetry import ImageResult, Report, Snapshot

__all__ = ["CheckedBundle", "Target", "check_bundles", "import_bundle", "parse_target"]

_MOST_SHOWN = 2


class Target(Value, frozen=True):
    """Where a bundle's repositories go: a registry, and what their names there begin with ("" or "mirror/")."""

    registry: str
    prefix: str

    def repository_for(self, name: str) -> Repository:
        """Where the repository `name` of the bundle goes. Raises ConfigurationError where that is no name."""
        try:
            parsed = parse_repository(f"{self.registry}/{self.prefix}{name}")
        except InvalidReference as error:
            raise ConfigurationError(f"{name} cannot go to {self.registry}/{self.prefix}: {error}") from None
        return Repository(self.registry, parsed.name)


def parse_target(text: str) -> Target:
    """The target in `registry.example`, `localhost:5000` or `registry.example/mirror/team`. Raises ValueError."""
    host, _, path = text.rstrip("/").partition("/")
    registry = canonical_registry(host)
    if not any(sign in host for sign in ".:") and host != "localhost":
        raise ValueError(f"“{text}” does not begin with a registry: write registry.example.com/mirror")
    if path:
        parse_repository(f"{registry}/{path}")
    return Target(registry, f"{path}/" if path else "")


class CheckedBundle(Value, frozen=True):
    """A bundle that was read from its first byte to its last and found right, and former ones beside it."""

    bundle: Bundle
    former: tuple[Bundle, ...]

    @property
    def record(self) -> BundleRecord:
        """What is in it."""
        return self.bundle.record


def check_bundles(
    directory: str | os.PathLike[str],
    former: Sequence[str | os.PathLike[str]] = (),
    *,
    on_bytes: Callable[[int, int], None] = lambda _done, _total: None,
) -> CheckedBundle:
    """Read all of a bundle, and of the former ones, which bring what it leaves out. `on_bytes` is told how many bytes
    were read, and of how many.

    Raises ArchiveError where one is damaged or not whole, ConfigurationError where there is none, and OSError.
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


def import_bundle(
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
    """Bring what a bundle has to `target`. Nothing is unpacked; what is there already is not moved again. What refers
    to its images is brought with them, unless `settings.referrers` selects it, or `all_referrers` is False. `known` are
    the registries, and the policies; it has no rules.

    Raises ArchiveError, before anything is written, where blobs that the bundle leaves out are neither in a former one
    nor at the target, ConfigurationError where it cannot begin, and what keeps the target from being asked.
    """
    known = known or Configuration()
    place = bundle_place(checked.bundle.directory)
    rules = tuple(_rules(checked.record, place, target))
    _check_needed(checked, target, known.registries, settings)
    with ExitStack() as stack:
        socket = Path(stack.enter_context(socket_directory())) / "0"
        former = [bundle.directory for bundle in checked.former]
        server = import_server(checked.bundle.directory, str(socket), former=former)
        stack.callback(server.stop)
        try:
            server.start()
        except PlaceError as error:
            where = str(checked.bundle.directory)
            raise ConfigurationError([Problem(where, None, None, error.what, error.mend or None)]) from None
        entry = RegistryEntry(place, network=Network(unix_socket=server.address))
        configuration = replace(known, rules=rules, registries=RegistryBook((*known.registries.entries, entry)))
        keeps = settings.manifest_format is ManifestFormat.KEEP
        if settings.referrers.is_empty and all_referrers and keeps:
            # Tags such as sha256-….sig are images of the bundle themselves.
            settings = replace(settings, referrers=ReferrerSelection(MAX_DEPTH, cosign=False))
        return sync(configuration, settings, on_progress=on_progress, on_image=on_image, control=control)


def _rules(record: BundleRecord, place: str, target: Target) -> Iterable[Rule]:
    tags: dict[str, list[str]] = {}
    for image in record.images:
        if image.tag is not None:
            tags.setdefault(image.repository, []).append(image.tag)
            continue
        destination = Destination(target.repository_for(image.repository), digest=image.digest)
        yield Rule(Repository(place, image.repository), TagSelection(digest=image.digest), (destination,), origin=place)
    for name, names in tags.items():
        destination = Destination(target.repository_for(name))
        yield Rule(Repository(place, name), TagSelection(names=tuple(names)), (destination,), origin=place)


def _check_needed(checked: CheckedBundle, target: Target, registries: RegistryBook, settings: Settings) -> None:
    """Whether what the bundle leaves out is to be had. Raises ArchiveError."""
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
