"""Over a gap: what is exported on one side and imported on the other has the same digests."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Configuration, RegistryBook, RegistryEntry, Rule, Settings
from image_syncer.config.referrers import parse_referrer_selection
from image_syncer.embedded.made import MadeBlob
from image_syncer.layout.export import Export, export_bundle
from image_syncer.layout.importing import Target, check_bundles, import_bundle
from image_syncer.oci import OCI_LAYER_GZIP
from support.signed_images import signed_image
from support.sync_runs import SyncLab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.embedded import EmbeddedRegistry, Storage
    from image_syncer.telemetry import Report

SETTINGS = Settings(workers=1, connect_timeout_s=5.0, referrers=parse_referrer_selection("all"))
PART_BYTES = 2**14


class Gap:
    """A side that has images, a bundle, and a side that shall have them."""

    def __init__(self, lab: SyncLab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def _book(self) -> RegistryBook:
        return RegistryBook([RegistryEntry(registry.address, insecure=True) for registry in self.lab.registries])

    def export(
        self, *rules: Rule, name: str = "bundle", against: Sequence[Path] = (), exit_code: int = 0, **settings: Any
    ) -> Export:
        configuration = Configuration(rules or self.lab._all_rules(), self._book())
        how = Settings(**{**vars(SETTINGS), **settings})
        done = export_bundle(configuration, how, self.directory / name, part_bytes=PART_BYTES, against=against)
        assert done.report.exit_code == exit_code, done.report.failures
        return done

    def bring(self, name: str = "bundle", *former: str, prefix: str = "", **settings: Any) -> Report:
        checked = check_bundles(self.directory / name, [self.directory / each for each in former])
        target = Target(self.lab.destination.address, prefix)
        report = import_bundle(checked, target, Settings(**{**vars(SETTINGS), **settings}), registries=self._book())
        assert report.exit_code == 0, report.failures
        return report

    def uploads(self, registry: EmbeddedRegistry) -> int:
        counted = registry.counters.values()
        return counted.count("start upload") + counted.count("put upload") + counted.count("put manifest")


@pytest.fixture
def gap(tmp_path: Path) -> Iterator[Gap]:
    with ExitStack() as stack:
        yield Gap(SyncLab(stack, tmp_path), tmp_path)


def contents(storage: Storage, prefix: str = "") -> dict[str, object]:
    """Everything a registry has, by name, without `prefix`."""
    found: dict[str, object] = {}
    for repository in storage.repositories():
        name = repository.removeprefix(prefix)
        for tag in storage.tags(repository):
            found[f"{name}:{tag}"] = storage.tag(repository, tag)
        entry = storage._repositories[repository]  # type: ignore[attr-defined]
        for digest, manifest in entry.manifests.items():
            found[f"{name}@{digest}"] = (manifest.media_type, storage.read_manifest(manifest))
        for digest in entry.blobs:
            found[f"{name}#{digest}"] = storage.read_blob(repository, digest)
    return found


def test_what_is_exported_and_imported_is_what_there_was(gap: Gap) -> None:
    lab = gap.lab
    signed = signed_image(lab.content)
    lab.push(signed.root)
    for each in (signed.signature, signed.sbom, signed.sbom_signature):
        lab.push(each, tags=())
    lab.push(signed.cosign, tags=(signed.cosign_tag,))
    lab.push(lab.content.image([MadeBlob(OCI_LAYER_GZIP, 5000, 3, algorithm="sha512")]), "other/app")
    by_digest = lab.push(lab.content.image(1), "third/app", tags=())
    rules = (lab.rule(), lab.rule("other/app"), lab.rule("third/app", digest=by_digest.digest))
    exported = gap.export(*rules)
    assert exported.bundle is not None
    assert len(exported.bundle.parts) > 1
    assert all(part.size <= PART_BYTES for part in exported.bundle.parts)
    gap.bring()
    assert contents(lab.destination.storage) == contents(lab.source.storage)
    before = gap.uploads(lab.destination)
    assert gap.bring().totals.bytes_moved == 0
    assert gap.uploads(lab.destination) == before


def test_names_are_those_of_the_rules_below_the_prefix(gap: Gap) -> None:
    lab = gap.lab
    image = lab.image()
    rule = lab.rule(to=[(lab.destination, "mirror/app"), (lab.source, "copy")])
    exported = gap.export(rule)
    assert exported.bundle is not None
    assert [each.name for each in exported.bundle.images] == ["copy:v1", "mirror/app:v1"]
    gap.bring(prefix="inside/")
    lab.assert_arrived(image, "inside/mirror/app")
    lab.assert_arrived(image, "inside/copy")


def test_a_dry_run_writes_nothing(gap: Gap) -> None:
    gap.lab.image()
    done = gap.export(dry_run=True)
    assert done.bundle is None
    assert done.report.totals.bytes_planned > 0
    assert not (gap.directory / "bundle").exists()
    gap.export()
    assert gap.bring(dry_run=True).totals.bytes_planned > 0
    assert gap.uploads(gap.lab.destination) == 0
    assert "bundle.json" in {path.name for path in (gap.directory / "bundle").iterdir()}
