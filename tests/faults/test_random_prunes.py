"""Prunes of made-up repositories, by the whole engine: what was reached before by what stays is there afterwards.

What is reached is worked out here from the bytes that the registry had, by every way from one manifest to another.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.config.pruning import Pruning
from image_syncer.embedded import Behaviour, ContentBuilder, MemoryStorage, push_to, serve_in_thread
from image_syncer.oci import Repository
from image_syncer.runs import prune
from support.signed_images import SBOM, SIGNATURE, fallback_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.embedded import MadeManifest

NAMES = ("team/app", "team/other")
OWNED = NAMES[0]


def fill(chance: random.Random, storage: MemoryStorage, name: str) -> None:
    """Images, indexes of them, what refers to any of them, and tags of all forms on any of it."""
    content = ContentBuilder(chance.randrange(10**6))
    made: list[MadeManifest] = [content.image(1) for _ in range(3)]
    for _ in range(chance.randrange(3, 9)):
        if chance.random() < 0.4:
            made.append(content.index(chance.sample(made, chance.randrange(1, 3))))
        else:
            made.append(content.artifact(chance.choice([SBOM, SIGNATURE]), subject=chance.choice(made)))
    for each in made:
        push_to(storage, name, each)
    for number in range(chance.randrange(2, 8)):
        push_to(storage, name, chance.choice(made), [f"v{number}"])
    for subject in chance.sample(made, 3):
        tag = subject.digest.replace(":", "-")
        refers = [each for each in made if (json.loads(each.raw).get("subject") or {}).get("digest") == subject.digest]
        if refers and chance.random() < 0.6:
            push_to(storage, name, fallback_index(content, *refers), [tag])
        elif chance.random() < 0.5:
            push_to(storage, name, content.image(1), [f"{tag}.sig"])


def documents(storage: MemoryStorage, name: str) -> dict[str, dict[str, Any]]:
    found = storage._repositories[name].manifests
    return {digest: json.loads(storage.read_manifest(stored)) for digest, stored in found.items()}


def neighbours(digest: str, there: dict[str, dict[str, Any]], tags: dict[str, str]) -> Iterator[str]:
    document = there.get(digest, {})
    yield from (child["digest"] for child in document.get("manifests") or ())
    if subject := document.get("subject"):
        yield subject["digest"]
    yield from (other for other, each in there.items() if (each.get("subject") or {}).get("digest") == digest)
    base = digest.replace(":", "-")
    yield from (target for tag, target in tags.items() if tag.partition(".")[0] == base)
    for tag, target in tags.items():
        if target == digest and tag.startswith("sha256-"):
            yield tag.partition(".")[0].replace("-", ":", 1)


def reached(begin: set[str], there: dict[str, dict[str, Any]], tags: dict[str, str]) -> set[str]:
    found, waiting = set(begin), list(begin)
    while waiting:
        for each in neighbours(waiting.pop(), there, tags):
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


@pytest.mark.parametrize("api", [True, False], ids=["referrers API", "lists under tags"])
@pytest.mark.parametrize("seed", range(12))
def test_what_is_reached_by_what_stays_is_there(seed: int, api: bool) -> None:
    chance = random.Random(seed)
    storage, source_storage = MemoryStorage(), MemoryStorage()
    for name in NAMES:
        fill(chance, storage, name)
    tags = {tag: str(storage.tag(OWNED, tag)) for tag in storage.tags(OWNED)}
    before, untouched = documents(storage, OWNED), (documents(storage, NAMES[1]), list(storage.tags(NAMES[1])))
    selected = set(chance.sample(sorted(tags), chance.randrange(1, len(tags))))
    push_to(source_storage, OWNED, ContentBuilder(1).image(1), sorted(selected))
    with serve_in_thread(source_storage) as source, serve_in_thread(storage, Behaviour(referrers=api)) as there:
        rule = Rule(
            Repository(source.address, OWNED),
            TagSelection(),
            (Destination(Repository(there.address, OWNED)),),
        )
        book = RegistryBook([RegistryEntry(each.address, insecure=True) for each in (source, there)])
        report = prune(Configuration((rule,), book), Settings(pruning=Pruning(delete=True, most=None)))
    assert report.internal_error is None
    assert report.pruned is not None
    after = documents(storage, OWNED)
    left = {tag: str(storage.tag(OWNED, tag)) for tag in storage.tags(OWNED)}
    assert (documents(storage, NAMES[1]), list(storage.tags(NAMES[1]))) == untouched
    assert selected <= left.keys()
    assert all(tags[tag] == target for tag, target in left.items())
    needed = reached({tags[tag] for tag in left}, before, tags) & before.keys()
    assert needed <= after.keys()
    # What is gone was told, each of it once.
    gone = [each.digest for each in report.pruned.deletions if not each.alone]
    assert sorted(gone) == sorted(before.keys() - after.keys())
    assert report.exit_code == 0
