"""A bundle that is not as it was exported is refused, and what is wrong with it is named."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from image_syncer.errors import ConfigurationError, SyncError
from image_syncer.layout.bundle_reading import check_bundle, open_bundle
from image_syncer.layout.bundle_server import BundleSource
from image_syncer.layout.bundles import check_bundles
from image_syncer.layout.tar_index import ArchiveError
from support.bundles import make_bundle, some_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "bundle", some_images())


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "bundle")


def parts_of(bundle: Path) -> list[Path]:
    return sorted(bundle.glob("part-*.tar"))


def refusal(bundle: Path) -> SyncError:
    with pytest.raises((ArchiveError, ConfigurationError)) as caught:
        check_bundles(bundle)
    return caught.value


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = bundle / "bundle.json"
    data = orjson.loads(file.read_bytes())
    change(data)
    file.write_bytes(orjson.dumps(data))


def test_a_bundle_that_is_as_it_was_exported_is_taken(bundle: Path) -> None:
    told: list[tuple[int, int]] = []
    checked = check_bundles(bundle, on_bytes=lambda done, total: told.append((done, total)))
    assert len(checked.record.parts) > 2
    assert told[-1] == (checked.record.size, checked.record.size)
    storage = BundleSource(checked.bundle)
    for name, manifest in some_images().items():
        repository, _, tag = name.partition(":")
        assert storage.tag(repository, tag) == manifest.digest
        for each in manifest.manifests():
            stored = storage.manifest(repository, each.digest)
            assert stored is not None
            assert storage.read_manifest(stored) == each.raw
        for blob in manifest.all_blobs():
            assert storage.read_blob(repository, blob.digest) == blob.read()
    storage.close()


def test_a_flipped_byte_in_any_part_is_found_and_the_part_is_named(bundle: Path) -> None:
    for part in parts_of(bundle):
        raw = bytearray(part.read_bytes())
        for place in (0, len(raw) // 2, len(raw) - 1):
            raw[place] ^= 1
            part.write_bytes(raw)
            error = refusal(bundle)
            assert f"{part.name} has other content than it had" in error.message
            assert str(error.hint).endswith(f": {part.name}")
            raw[place] ^= 1
        part.write_bytes(raw)
    check_bundles(bundle)


def test_missing_and_cut_parts_are_named_all_at_once(bundle: Path) -> None:
    first, second, *_, last = parts_of(bundle)
    first.unlink()
    last.write_bytes(last.read_bytes()[:-1])
    second.write_bytes(second.read_bytes() + b"\0")
    error = refusal(bundle)
    for words in (f"{first.name} is missing", f"{last.name} has ", f"{second.name} has "):
        assert words in error.message
    assert str(error.hint).endswith(f": {first.name} {second.name} {last.name}")


def test_parts_that_were_swapped_are_named(bundle: Path) -> None:
    first, second, *_ = parts_of(bundle)
    assert first.stat().st_size == second.stat().st_size
    raw = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(raw)
    assert f"{first.name} has other content than it had; {second.name} has" in refusal(bundle).message


def test_the_record_of_another_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", some_images(seed=2))
    shutil.copy(other / "bundle.json", bundle)
    assert "damaged" in refusal(bundle).message


def test_without_a_record_there_is_no_bundle(bundle: Path, tmp_path: Path) -> None:
    (bundle / "bundle.json").unlink()
    assert "has parts of a bundle, and no bundle.json" in refusal(bundle).message
    (bundle / "unfinished").mkdir()
    assert "its export was cut off" in refusal(bundle).message
    assert isinstance(refusal(tmp_path), ConfigurationError)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(version=2), "is of version 2"),
        (lambda data: data.update(format="zip"), "does not say"),
        (lambda data: data.pop("blobs"), "it has no 'blobs'"),
        (lambda data: data["parts"].pop(), "behind|ends|missing|header"),
        (lambda data: data["parts"].append(data["parts"][0]), "listed twice"),
        (lambda data: data["parts"][0].update(name="../part-0001.tar"), "not valid there"),
        (lambda data: data["parts"][0].update(name="/etc/passwd"), "not valid there"),
        (lambda data: data["parts"][0].update(size=-1), "no number of bytes"),
        (lambda data: data["images"][0].update(tag="../x"), "not a tag"),
        (lambda data: data["images"][0].update(repository="../x"), "not the name of a repository"),
        (lambda data: data["images"][0].update(digest="sha256:" + "0" * 64), "is not listed"),
        (lambda data: data["images"].pop(), "names other images"),
        (lambda data: data["images"][0].update(tag="v9"), "names other images"),
        (lambda data: next(iter(data["blobs"].values())).update(offset=0), "is not where it says"),
        (lambda data: next(iter(data["blobs"].values())).update(size=1), "is not where it says"),
        (lambda data: next(iter(data["blobs"].values())).pop("offset"), "is not where it says"),
        (lambda data: next(iter(data["manifests"].values())).update(offset=512), "is not where it says"),
        (lambda data: data["repositories"]["team/app"]["blobs"].pop(), "which is not there"),
        (lambda data: data["repositories"]["team/app"]["manifests"].pop(0), "not there|not listed"),
        (lambda data: data.update(repositories=[]), "damaged"),
        (lambda data: data.update(needs={"bundles": ["x"]}), "not valid there"),
    ],
)
def test_a_record_that_does_not_fit_the_parts_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    edit(bundle, change)
    error = refusal(bundle)
    assert re.search(words, error.message), error.message
    assert error.hint


def test_a_record_that_is_no_json_is_refused(bundle: Path) -> None:
    raw = (bundle / "bundle.json").read_bytes()
    for spoiled in (b"", raw[: len(raw) // 2], b"[]", b"null", b"\xff" + raw):
        (bundle / "bundle.json").write_bytes(spoiled)
        assert "damaged" in refusal(bundle).message


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    digest, listed = next(iter(opened.record.manifests.items()))
    opened.record.manifests[digest] = listed.__class__(listed.media_type, listed.size - 1, listed.offset)  # type: ignore[index]
    with pytest.raises(ArchiveError):
        opened.read_manifest(digest)


def test_what_is_left_out_has_to_be_in_a_former_bundle(bundle: Path, tmp_path: Path) -> None:
    images = some_images()
    again = make_bundle(tmp_path / "again", images, against=[bundle])
    record = open_bundle(again).record
    assert record.needs == (open_bundle(bundle).record.identity,)
    assert set(record.needed()) == {"team/app", "library/nginx"}
    checked = check_bundles(again, [bundle])
    alone, beside = BundleSource(checked.bundle), BundleSource(checked.bundle, checked.former)
    for blob in images["team/app:v1"].all_blobs():
        assert alone.open_blob("team/app", blob.digest) is None
        assert beside.read_blob("team/app", blob.digest) == blob.read()


def test_what_a_former_bundle_has_for_another_repository_comes_along(bundle: Path, tmp_path: Path) -> None:
    image = some_images()["library/nginx:1.27"]
    again = make_bundle(tmp_path / "again", {"team/copy:1": image, "library/nginx:1.27": image}, against=[bundle])
    record = open_bundle(again).record
    assert record.needed() == {}
    assert record.needs == ()
    check_bundle(open_bundle(again))


def test_a_chain_of_former_bundles_needs_the_last_record_only(bundle: Path, tmp_path: Path) -> None:
    images = some_images()
    second = make_bundle(tmp_path / "second", images, against=[bundle])
    third = make_bundle(tmp_path / "third", images, against=[second])
    assert open_bundle(third).record.needed() == open_bundle(second).record.needed()
