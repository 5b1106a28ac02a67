"""What the benchmark copies is a valid registry on disk, as it was asked for, and the same each time."""

from __future__ import annotations

import hashlib
import json

import pytest
from perf.stage.content import ContentSpec, build_content

SMALL = 3000


def all_layers(content) -> list[list[str]]:
    """The layers of each image, by digest."""
    found = []
    for repository, tags in content.tags.items():
        for tag in tags:
            manifest = json.loads((content.root / "v2" / repository / "manifests" / tag).read_bytes())
            found.append([layer["digest"] for layer in manifest["layers"]])
    return found


def test_every_digest_and_size_is_right(tmp_path) -> None:
    content = build_content(ContentSpec(repositories=2, tags=3, layers=2, layer_bytes=SMALL), tmp_path / "c")
    assert (content.images, content.blob_copies, content.distinct_blobs) == (6, 18, 18)
    total = 0
    for repository in content.repositories:
        folder = content.root / "v2" / repository
        assert json.loads((folder / "tags" / "list").read_text()) == {
            "name": repository,
            "tags": list(content.tags[repository]),
        }
        for tag in content.tags[repository]:
            raw = (folder / "manifests" / tag).read_bytes()
            assert (folder / "manifests" / f"sha256:{hashlib.sha256(raw).hexdigest()}").read_bytes() == raw
            manifest = json.loads(raw)
            for blob in (manifest["config"], *manifest["layers"]):
                data = (folder / "blobs" / blob["digest"]).read_bytes()
                assert (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) == (blob["digest"], blob["size"])
                total += len(data)
            for layer in manifest["layers"]:
                assert (folder / "blobs" / layer["digest"]).read_bytes().startswith(b"\x1f\x8b\x08")
    assert content.distinct_bytes == total


def test_a_layer_of_several_blocks_repeats_none_of_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("perf.stage.content.BLOCK_BYTES", 1000)
    content = build_content(ContentSpec(tags=1, layer_bytes=3500), tmp_path / "c")
    (layer,) = all_layers(content)[0]
    data = (content.root / "blobs" / layer).read_bytes()
    assert len(data) == 3500
    assert len({data[start : start + 1000] for start in range(0, 3500, 1000)}) == 4


def test_the_same_specification_gives_the_same_bytes_and_another_seed_others(tmp_path) -> None:
    spec = ContentSpec(tags=2, layers=2, log_normal=(2000.0, 1.0))
    first, second = (all_layers(build_content(spec, tmp_path / name)) for name in "ab")
    assert first == second
    other = all_layers(build_content(ContentSpec(tags=2, layers=2, log_normal=(2000.0, 1.0), seed=8), tmp_path / "c"))
    assert not {digest for image in first for digest in image} & {digest for image in other for digest in image}


def test_bases_are_the_same_in_all_images(tmp_path) -> None:
    content = build_content(
        ContentSpec(repositories=2, tags=2, layers=3, layer_bytes=99, shared_layers=2), tmp_path / "c"
    )
    layers = all_layers(content)
    assert len({tuple(image[:2]) for image in layers}) == 1
    assert len({image[2] for image in layers}) == 4
    assert content.distinct_blobs == 2 + 4 + 4
    assert content.blob_copies == 16


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.8, 1.0])
def test_the_part_that_is_shared_comes_from_a_pool(tmp_path, fraction) -> None:
    spec = ContentSpec(tags=20, layers=5, layer_bytes=99, shared_fraction=fraction)
    content = build_content(spec, tmp_path / "c")
    assert all(len(set(image)) == 5 for image in all_layers(content))
    own = round(100 * (1 - fraction))
    pool = max(5, round(100 * fraction / 10)) if fraction else 0
    assert own + 20 <= content.distinct_blobs <= own + 20 + pool


def test_bases_are_dealt_in_turn(tmp_path) -> None:
    spec = ContentSpec(tags=8, layers=3, layer_bytes=SMALL, shared_layers=2, bases=4)
    layers = all_layers(build_content(spec, tmp_path / "c"))
    bases = [tuple(image[:2]) for image in layers]
    assert bases[:4] == bases[4:]
    assert len(set(bases)) == 4
    assert len({layer for image in layers for layer in image}) == 4 * 2 + 8
