"""KnownBlobs against plain sets, wherever they are kept: in memory, in the file, or in both."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.journal.known_blobs import KnownBlobsInFile
from image_syncer.oci import Digest, Repository, digest_of
from image_syncer.scheduling import KnownBlobsInMemory

if TYPE_CHECKING:
    from collections.abc import Callable

REGISTRIES = ["a.example", "b.example"]
REPOSITORIES = [Repository(registry, name) for registry in REGISTRIES for name in ("one", "two", "three")]
# Two hashes whose raw bytes begin alike would be different blobs still.
DIGESTS = [digest_of(b"1"), digest_of(b"2"), digest_of(b"1", "sha512"), Digest(f"sha512:{digest_of(b'1').hex * 2}")]

steps = st.lists(
    st.tuples(st.sampled_from(["note", "add", "add"]), st.sampled_from(REPOSITORIES), st.sampled_from(DIGESTS))
)
KINDS = {
    "memory": KnownBlobsInMemory,
    "file": KnownBlobsInFile,
    "both": lambda: BoundedKnownBlobs(3),
    "bound beyond reach": lambda: BoundedKnownBlobs(10**6),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@given(steps=steps)
def test_they_know_what_they_were_told_and_nothing_else(make: Callable[[], KnownBlobsInMemory], steps) -> None:
    noted: set[tuple[str, Digest]] = set()
    added: set[tuple[Repository, Digest]] = set()
    known_blobs = make()
    with closing(known_blobs) if hasattr(known_blobs, "close") else nullcontext():
        for step, repository, digest in steps:
            if step == "note":
                known_blobs.note(repository.registry, digest)
                noted.add((repository.registry, digest))
            else:
                known_blobs.add(repository, digest)
                added.add((repository, digest))
            for one in DIGESTS:
                for registry in REGISTRIES:
                    homes = {home.name for home, blob in added if (home.registry, blob) == (registry, one)}
                    assert known_blobs.knows(registry, one) == (bool(homes) or (registry, one) in noted)
                    assert known_blobs.home(registry, one) in (homes or {None})
                    for name in homes:
                        assert known_blobs.home(registry, one, name) in {
                            home for home in homes if home.startswith(name)
                        }
                    assert known_blobs.home(registry, one, "nobody/") is None
                for other in REPOSITORIES:
                    assert known_blobs.has(other, one) == ((other, one) in added)
        if type(known_blobs) is KnownBlobsInMemory:
            homeless = noted - {(repository.registry, digest) for repository, digest in added}
            assert len(known_blobs) == len(added) + len(homeless)
