"""A layout on a disk that is full, or fails: told with what it is, and nothing half stays."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, push_over_http, serve_in_thread
from image_syncer.layout.layout_storage import LayoutStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["writev", "fsync", "rename"])
@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "507 .*no space left"), (errno.EDQUOT, "507 .*no space left"), (errno.EIO, "500 .*Input/output")],
)
def test_what_the_disk_says_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    image = ContentBuilder(17).image(1, layer_bytes=2**18)
    storage = LayoutStorage(str(tmp_path), writes=True)
    with serve_in_thread(storage) as registry:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing(number))
            with pytest.raises(RuntimeError, match=words):
                push_over_http(registry.url, "app", image, ["1"])
        assert [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()] == []
        assert [each.name for each in (tmp_path / ".image-syncer").iterdir()] == ["lock"]
        push_over_http(registry.url, "app", image, ["1"])
    storage.close()
    assert LayoutStorage(str(tmp_path), writes=False).tag("app", "1") == image.digest
