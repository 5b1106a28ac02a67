"""The index under a fallback tag, written against others who write it in the same moment."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.discovery import publisher
from image_syncer.discovery.publisher import MOST_WRITES, FallbackIndexes
from image_syncer.errors import NotFoundError, UnavailableError
from image_syncer.oci import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of, parse_manifest, parse_repository
from image_syncer.registry.referrers import ReferrerEntry, read_referrers

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Reference, Repository

REPOSITORY = parse_repository("registry.example/team/app")
SUBJECT = digest_of(b"an image")


def entry(text: str) -> ReferrerEntry:
    digest = digest_of(text.encode())
    return ReferrerEntry(digest, None, {}, {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(text)})


def index(*entries: ReferrerEntry) -> Manifest:
    fields: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    return parse_manifest(json.dumps({**fields, "manifests": [each.described for each in entries]}).encode(), None)


class Tag:
    """What is under the tag; `after_put` is what others do after each of our writes."""

    def __init__(self, after_put: Callable[[Tag], None] = lambda _tag: None) -> None:
        self.lists_referrers: dict[Repository, bool] = {REPOSITORY: False}
        self.there: Manifest | None = None
        self.puts = 0
        self._after_put = after_put

    async def get_destination(self, _reference: Reference) -> Manifest:
        await asyncio.sleep(0)
        if self.there is None:
            raise NotFoundError("manifest unknown")
        return self.there

    async def put(self, _repository: Repository, manifest: Manifest, _target: str) -> None:
        await asyncio.sleep(0)
        self.there = manifest
        self.puts += 1
        self._after_put(self)

    @property
    def listed(self) -> list[str]:
        assert self.there is not None
        return [str(each.digest) for each in read_referrers(self.there)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_LEAST_PAUSE_S", 0.0)


def indexes(tag: Tag) -> FallbackIndexes:
    both: Any = tag
    return FallbackIndexes(both, both)


def digests(*texts: str) -> list[str]:
    return [str(entry(text).digest) for text in texts]


def test_an_index_that_has_it_all_is_not_written() -> None:
    tag = Tag()
    tag.there = index(entry("a"), entry("b"))
    asyncio.run(indexes(tag).ensure(REPOSITORY, SUBJECT, [entry("b")]))
    assert tag.puts == 0


def test_what_another_took_out_is_put_in_again_beside_his() -> None:
    def overwrite(tag: Tag) -> None:
        if tag.puts == 1:
            tag.there = index(entry("theirs"))

    tag = Tag(overwrite)
    asyncio.run(indexes(tag).ensure(REPOSITORY, SUBJECT, [entry("a"), entry("b")]))
    assert (tag.puts, tag.listed) == (2, digests("theirs", "a", "b"))


def test_whoever_loses_all_the_time_gives_up_and_says_so() -> None:
    def overwrite(tag: Tag) -> None:
        tag.there = index(entry("theirs"))

    tag = Tag(overwrite)
    with pytest.raises(UnavailableError, match=f"ours was lost {MOST_WRITES} times"):
        asyncio.run(indexes(tag).ensure(REPOSITORY, SUBJECT, [entry("a")]))
    assert tag.puts == MOST_WRITES


def test_images_of_one_run_write_one_after_the_other() -> None:
    tag = Tag()
    lists = indexes(tag)

    async def scenario() -> None:
        await asyncio.gather(*(lists.ensure(REPOSITORY, SUBJECT, [entry(text)]) for text in "abcd"))

    asyncio.run(scenario())
    assert (tag.puts, sorted(tag.listed)) == (4, sorted(digests(*"abcd")))
    assert lists._locks == {}


def test_a_registry_that_lists_them_itself_is_left_alone() -> None:
    tag = Tag()
    tag.lists_referrers[REPOSITORY] = True
    asyncio.run(indexes(tag).ensure(REPOSITORY, SUBJECT, [entry("a")]))
    assert tag.puts == 0
