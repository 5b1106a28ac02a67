"""Over a gap: what is exported on one side and imported on the other has the same digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Configuration, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.config.policy import NameLists, NamePattern, Policy
from image_syncer.config.referrers import parse_referrer_selection
from image_syncer.control.run_control import RunControl
from image_syncer.embedded import Behaviour
from image_syncer.embedded.content import MadeBlob
from image_syncer.errors import ConfigurationError
from image_syncer.layout.bundles import Export, Target, check_bundles, export_bundle, import_bundle, parse_target
from image_syncer.layout.tar_index import ArchiveError
from image_syncer.oci import OCI_LAYER_GZIP
from image_syncer.values import as_dict
from support.signed_images import signed_image
from support.sync_runs import SyncLab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.embedded import EmbeddedRegistry, Storage
    from image_syncer.telemetry import Report, Snapshot

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
        self,
        *rules: Rule,
        name: str = "bundle",
        against: Sequence[Path] = (),
        exit_code: int = 0,
        policies: Sequence[Policy] = (),
        **settings: Any,
    ) -> Export:
        configuration = Configuration(rules or self.lab._all_rules(), self._book(), policies=tuple(policies))
        how = Settings(**{**as_dict(SETTINGS), **settings})
        done = export_bundle(configuration, how, self.directory / name, part_bytes=PART_BYTES, against=against)
        assert done.report.exit_code == exit_code, done.report.failures
        return done

    def bring(self, name: str = "bundle", *former: str, prefix: str = "", **settings: Any) -> Report:
        checked = check_bundles(self.directory / name, [self.directory / each for each in former])
        target = Target(self.lab.destination.address, prefix)
        report = import_bundle(
            checked, target, Settings(**{**as_dict(SETTINGS), **settings}), known=Configuration((), self._book())
        )
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


class Pausing:
    """Pauses a run as it begins, and lets it go on when that was seen."""

    def __init__(self) -> None:
        self.control = RunControl()
        self.control.pause()
        self.seen: list[str | None] = []

    def on_progress(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot.held)
        if snapshot.held == "paused":
            self.control.resume()


@pytest.mark.slow
def test_exports_and_imports_are_controlled_as_other_runs_are(gap: Gap) -> None:
    gap.lab.push(gap.lab.content.image(2))
    out, back = Pausing(), Pausing()
    configuration = Configuration(gap.lab._all_rules(), gap._book())
    where = gap.directory / "bundle"
    done = export_bundle(configuration, SETTINGS, where, on_progress=out.on_progress, control=out.control)
    assert done.bundle is not None
    report = import_bundle(
        check_bundles(where, []),
        Target(gap.lab.destination.address, ""),
        SETTINGS,
        known=Configuration((), gap._book()),
        on_progress=back.on_progress,
        control=back.control,
    )
    assert report.exit_code == 0
    for one in (out, back):
        assert one.seen[0] == "paused"
        assert one.seen[-1] is None
    assert contents(gap.lab.destination.storage) == contents(gap.lab.source.storage)


@pytest.mark.extended
def test_names_are_those_of_the_rules_below_the_prefix_and_a_dry_run_writes_nothing(gap: Gap) -> None:
    lab = gap.lab
    image = lab.image()
    rule = lab.rule(to=[(lab.destination, "mirror/app"), (lab.source, "copy")])
    planned = gap.export(rule, dry_run=True)
    assert planned.bundle is None
    assert planned.report.totals.bytes_planned > 0
    assert not (gap.directory / "bundle").exists()
    exported = gap.export(rule)
    assert exported.bundle is not None
    assert [each.name for each in exported.bundle.images] == ["copy:v1", "mirror/app:v1"]
    with pytest.raises(ConfigurationError, match="cannot go to"):
        gap.bring(prefix="p" * 250 + "/")
    assert gap.bring(prefix="inside/", dry_run=True).totals.bytes_planned > 0
    assert gap.uploads(lab.destination) == 0
    gap.bring(prefix="inside/")
    lab.assert_arrived(image, "inside/mirror/app")
    lab.assert_arrived(image, "inside/copy")


@pytest.mark.extended
def test_only_what_is_new_is_in_a_bundle_against_a_former_one(gap: Gap) -> None:
    lab = gap.lab
    first = lab.content.image(2)
    layers = [*first.blobs[1:], lab.content.layer(4096)]
    lab.push(first)
    gap.export(lab.rule(), name="june")
    second = lab.push(lab.content.image(layers))
    # Its record is all that an export needs of it.
    record = shutil.copy(gap.directory / "june" / "bundle.json", gap.directory / "june.json")
    july = gap.export(lab.rule(), name="july", against=[record]).bundle
    assert july is not None
    assert sorted(map(len, july.needed().values())) == [2]
    with pytest.raises(ArchiveError, match="leaves out 2 blobs") as caught:
        gap.bring("july")
    assert "Nothing was written" in str(caught.value.hint)
    assert gap.uploads(lab.destination) == 0
    gap.bring("june")
    assert gap.bring("july").totals.blobs_moved == 2
    lab.assert_arrived(second)
    # Behind another gap, where the former bundle has never been, it is named beside the new one.
    gap.bring("july", "june", prefix="elsewhere/")
    lab.assert_arrived(second, "elsewhere/team/app")


@pytest.mark.extended
def test_an_export_in_which_an_image_fails_is_no_bundle_until_it_is_there(gap: Gap) -> None:
    lab = gap.lab
    here = lab.image(repository="team/here")
    there = lab.content.image(2)
    rules = (lab.rule("team/here"), lab.rule("team/there"))
    assert gap.export(*rules, exit_code=1).bundle is None
    with pytest.raises(ArchiveError, match="not finished"):
        check_bundles(gap.directory / "bundle")
    lab.push(there, "team/there")
    done = gap.export(*rules)
    assert done.bundle is not None
    assert done.report.totals.blobs_moved == 3  # those of the image that was not there
    gap.bring()
    lab.assert_arrived(here, "team/here")
    lab.assert_arrived(there, "team/there")


@pytest.mark.slow
def test_repositories_that_are_listed_are_exported(gap: Gap) -> None:
    lab = gap.lab
    images = {name: lab.image(repository=name) for name in ("team/one", "team/two")}
    lab.image(repository="other/app")
    address = lab.source.address
    (gap.directory / "own.yaml").write_text(
        f"version: 2\nrules:\n- source: {address}/team/**\n  destination: registry.example/mirror/**\n"
        f"registries:\n  {address}:\n    insecure: true\n"
    )
    configuration = load_configuration(config=str(gap.directory / "own.yaml"), environ={})
    done = export_bundle(configuration, SETTINGS, gap.directory / "bundle")
    assert done.bundle is not None
    assert [image.name for image in done.bundle.images] == ["mirror/team/one:v1", "mirror/team/two:v1"]
    gap.bring()
    for name, image in images.items():
        lab.assert_arrived(image, f"mirror/{name}")


def test_two_images_of_one_name_are_refused_before_anything_moves(gap: Gap) -> None:
    lab = gap.lab
    lab.image(repository="team/one")
    lab.image(repository="team/two")
    rules = (
        lab.rule("team/one", to=[(lab.destination, "app")]),
        lab.rule("team/two", to=[(lab.source, "app")]),
    )
    with pytest.raises(ConfigurationError, match="would both be app:v1 in the bundle"):
        gap.export(*rules)
    assert not (gap.directory / "bundle").exists()


@pytest.mark.slow
def test_two_images_that_came_under_one_name_are_no_bundle(gap: Gap) -> None:
    lab = gap.lab
    one, other = lab.add_registry(), lab.add_registry()
    same = lab.push(lab.content.image(1), "app", tags=("1",))
    lab.push(same, "app", tags=("1",), to=one)
    all_tags = TagSelection()
    rule = lab.rule("app", all_tags, to=[(one, "mirror/app")])
    gap.export(rule, lab.rule("app", all_tags, origin=one, to=[(other, "mirror/app")]), name="same")
    lab.push(lab.content.image(1), "app", tags=("1",), to=other)
    with pytest.raises(ConfigurationError, match="would both be mirror/app:1 in the bundle"):
        gap.export(rule, lab.rule("app", all_tags, origin=other, to=[(other, "mirror/app")]))
    assert not (gap.directory / "bundle/bundle.json").exists()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_part_that_is_no_file_is_not_waited_for(gap: Gap, kind: str) -> None:
    gap.lab.image()
    gap.export()
    record = gap.directory / "bundle/bundle.json"
    data = json.loads(record.read_text())
    data["parts"].append({"name": "part-9999.tar", "size": 0, "sha256": hashlib.sha256().hexdigest()})
    record.write_text(json.dumps(data))
    part = record.with_name("part-9999.tar")
    if kind == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to("/dev/zero")
    with pytest.raises(ArchiveError, match=r"part-9999\.tar is no file"):
        check_bundles(gap.directory / "bundle")


@pytest.mark.extended
def test_a_destination_without_the_api_lists_what_refers_under_a_tag(gap: Gap) -> None:
    lab = gap.lab
    signed = signed_image(lab.content)
    lab.push(signed.root)
    lab.push(signed.signature, tags=())
    gap.export(lab.rule())
    lab.destination.behaviour = Behaviour(referrers=False)
    gap.bring()
    listed = lab.destination.storage.tag("team/app", signed.fallback_tags[signed.root.digest])
    assert listed is not None


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("registry.example", Target("registry.example", "")),
        ("localhost:5000/mirror/", Target("localhost:5000", "mirror/")),
        ("Registry.example/a/b", Target("registry.example", "a/b/")),
        ("localhost", Target("localhost", "")),
    ],
)
def test_where_a_bundle_goes(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", "mirror", "mirror/app", "registry.example/UPPER", "registry.example/../x"])
def test_what_is_no_place_for_a_bundle(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_target(text)


def test_policies_hold_for_bundles_whatever_places_they_are_written_for(gap: Gap) -> None:
    lab = gap.lab
    lab.image()
    everywhere = NamePattern("**", ".*")
    inside = NamePattern("inside/**", "inside/.*")
    denying = Policy("no leaks", to=(inside,), sources=NameLists(deny=(everywhere,)))
    with pytest.raises(ConfigurationError, match="names destinations"):
        gap.export(policies=(Policy("by name", destinations=NameLists(deny=(inside,))),))
    done = gap.export(exit_code=1, policies=(denying,))
    assert "the policy “no leaks” refuses it" in str(done.report.failures[0].reason)


@pytest.mark.extended
def test_the_parts_put_together_are_an_archive_that_is_a_source_too(gap: Gap) -> None:
    lab = gap.lab
    image = lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64")))
    gap.export()
    parts = sorted((gap.directory / "bundle").glob("part-*.tar"))
    (gap.directory / "images.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    rules = {"oci-archive:images.tar:team/app:v1": "any.example/again/app"}
    (gap.directory / "images.json").write_text(json.dumps(rules))
    configuration = load_configuration(images=str(gap.directory / "images.json"), environ={})
    again = export_bundle(configuration, SETTINGS, gap.directory / "again").bundle
    assert again is not None
    assert [(each.name, each.digest) for each in again.images] == [("again/app:v1", image.digest)]


def test_a_destination_without_a_repository_has_no_name_in_a_bundle(gap: Gap) -> None:
    rules = {f"{gap.lab.source.address}/team/app:v1": f"oci:{gap.directory}/layout:v1"}
    (gap.directory / "images.json").write_text(json.dumps(rules))
    configuration = load_configuration(images=str(gap.directory / "images.json"), environ={})
    with pytest.raises(ConfigurationError, match="no repository"):
        export_bundle(configuration, SETTINGS, gap.directory / "bundle")
    assert not (gap.directory / "bundle").exists()
