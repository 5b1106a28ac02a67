"""What is in files, told without showing it. Dask workers call it by its name."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["file_digests"]


def file_digests(paths: Iterable[str]) -> dict[str, str | None]:
    """The SHA-256 of each file; None where it cannot be read here."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = sha256(Path(path).read_bytes()).hexdigest()
        except OSError:  # noqa: PERF203 - of each by itself
            found[path] = None
    return found
