"""Archives in parts: what is written is what Python's tarfile and our own index read, wherever the parts are cut."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from image_syncer.layout.bundle_reading import check_bundle, open_bundle
from image_syncer.layout.tar_index import ArchiveError, PartFiles, index_tar
from image_syncer.layout.tar_writer import TarWriter, numbered_parts
from support.bundles import make_bundle, open_export, some_images

names = st.text("abcü.", min_size=1, max_size=150).filter(lambda name: name.strip(".") != "")
contents = st.binary(max_size=40).flatmap(lambda raw: st.integers(0, 60).map(lambda times: raw * times))


@given(st.dictionaries(names, contents, max_size=6), st.integers(512, 5000))
def test_what_is_written_is_read(members: dict[str, bytes], part_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        writer = TarWriter(numbered_parts(directory), part_bytes=part_bytes)
        places = {name: writer.append_file(name, io.BytesIO(raw), len(raw)) for name, raw in members.items()}
        paths = [Path(directory) / part.name for part in writer.finish()]
        raw = b"".join(path.read_bytes() for path in paths)
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            read = {info.name: tar.extractfile(info).read() for info in tar.getmembers()}  # type: ignore[union-attr]
        assert read == members
        with PartFiles(paths) as parts:
            index = index_tar(parts)
            assert index.members == places
            assert {name: index.read(name, 10**6) for name in members} == members


@given(st.dictionaries(names, contents, min_size=1, max_size=3), st.data())
def test_a_spoiled_archive_is_refused_or_read_within_its_bounds(members: dict[str, bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.tar"
        writer = TarWriter(lambda _: path)
        for name, raw in members.items():
            writer.append_bytes(name, raw)
        writer.finish()
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw)
        with PartFiles([path]) as parts:
            try:
                index = index_tar(parts, follow_links=data.draw(st.booleans()))
            except ArchiveError:
                return
            for name, member in index.members.items():
                assert 0 <= member.offset <= member.offset + member.size <= len(raw)
                assert not name.startswith("/")
                assert ".." not in name.split("/")


@given(st.integers(0, 10), st.integers(0, 20_000), st.binary(max_size=600))
@settings(max_examples=25, deadline=None)
def test_an_export_that_was_cut_anywhere_goes_on(packed: int, cut_at: int, left: bytes) -> None:
    """Whatever a crash leaves of the open part (it ends early, or in what was never written), a bundle comes out."""
    images = some_images()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "bundle"
        storage = open_export(directory, part_bytes=6000)
        blobs = [(name, blob) for name, manifest in images.items() for blob in manifest.all_blobs()]
        for name, blob in blobs[:packed]:
            storage.put_blob(name.partition(":")[0], blob.pieces(), blob.digest)
        storage._queue.put(None)
        storage._thread.join()
        storage.close()
        for path in directory.glob("*.partial"):
            raw = path.read_bytes()
            path.write_bytes(raw[:cut_at] + left)
        make_bundle(directory, images, part_bytes=6000)
        opened = open_bundle(directory)
        check_bundle(opened)
        assert sorted(image.name for image in opened.record.images) == sorted(images)
        opened.parts.close()
