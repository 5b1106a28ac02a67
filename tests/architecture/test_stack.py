"""One image from `sync` to the PUT of its tag: a stack that a reader can follow."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import image_syncer
from architecture.source_tree import PROJECT
from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread
from image_syncer.net import RegistryClient
from image_syncer.oci import Repository

if TYPE_CHECKING:
    from types import FrameType

    import pytest

MOST_FRAMES = 12
BESIDE = {"_watch", "guard", "_check", "_listen", "_overhear"}
"""Tasks of a run on which no image waits."""


def awaited(task: asyncio.Task[Any]) -> list[str]:
    """The functions of a task that wait for each other, the first one first."""
    names, one = [], task.get_coro()
    while (frame := getattr(one, "cr_frame", None)) is not None:
        names.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")
        one = one.cr_await
    return names


def called() -> list[str]:
    """The functions of the thread that have called each other, the last one first."""
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        names.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")
        frame = frame.f_back
    return names


def test_a_tag_is_put_within_a_stack_of_twelve(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    send = RegistryClient.send

    async def note(self: RegistryClient, request: Any, *given: Any, **further: Any) -> Any:
        if request.method == "PUT" and request.url.endswith("/manifests/v1"):
            others = [awaited(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            waiting = [name for names in others if names[0].rpartition(".")[2] not in BESIDE for name in names]
            found.extend(name for name in (*waiting, *called()) if name.startswith("image_syncer."))
        return await send(self, request, *given, **further)

    monkeypatch.setattr(RegistryClient, "send", note)
    with serve_in_thread() as source, serve_in_thread() as destination:
        push_to(source.storage, "team/app", ContentBuilder(1).image(1, layer_bytes=1000), ["v1"])
        target = Destination(Repository(destination.address, "team/app"))
        rule = Rule(Repository(source.address, "team/app"), TagSelection(names=("v1",)), (target,))
        registries = RegistryBook([RegistryEntry(each.address, None, insecure=True) for each in (source, destination)])
        assert image_syncer.sync(Configuration((rule,), registries), Settings(workers=1)).exit_code == 0
    stack = {*(name.removeprefix("image_syncer.") for name in found), "net.client.send"}
    assert len(found) + len(["RegistryClient.send"]) <= MOST_FRAMES, found
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("\n## One image, function by function\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE)) == stack
