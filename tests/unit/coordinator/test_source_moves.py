"""Whether a tag has moved: nobody waits long for an answer that is only good to know."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from image_syncer.coordinator import image_delivery
from image_syncer.coordinator.image_delivery import ask_whether_moved
from image_syncer.oci import digest_of, parse_reference
from image_syncer.registry import ManifestHead

COPIED, OTHER = digest_of(b"copied"), digest_of(b"other")


def ask(head: ManifestHead | None, *, seconds: float = 0.0, surely: bool = False) -> tuple[dict[str, str], int]:
    """What is found, and how often the source was asked; it never answers where `head` is None."""
    asked = 0

    async def head_source(_reference: object) -> ManifestHead:
        nonlocal asked
        asked += 1
        return head if head is not None else await asyncio.get_running_loop().create_future()

    image = SimpleNamespace(source=parse_reference("h:5000/a:v1"), seconds=seconds)
    discovery = SimpleNamespace(head_source=head_source)
    found = asyncio.run(ask_whether_moved(discovery, image, COPIED, surely=surely))  # type: ignore[arg-type]
    return found, asked


def test_who_is_asked_and_when() -> None:
    there = ManifestHead(OTHER, None, None)
    assert ask(there) == ({}, 0)
    assert ask(there, seconds=59.9) == ({}, 0)
    assert ask(there, seconds=60.0) == ({"source_moved": OTHER}, 1)
    assert ask(there, surely=True) == ({"source_moved": OTHER}, 1)
    assert ask(ManifestHead(COPIED, None, None), surely=True) == ({}, 1)
    assert ask(ManifestHead(None, None, None), surely=True) == ({}, 1)


def test_a_source_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_delivery, "ANSWER_WITHIN_S", 0.01)
    assert ask(None, surely=True) == ({}, 1)
