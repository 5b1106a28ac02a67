"""Secrets that are only there to be looked for: planted in every source, and found again in whatever spelling."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Canaries"]

_BODY = "Zk7wQ9xN2vR5tB8y"
"""No word and no number of ours has it; letters and digits, which stay what they are in URLs and in JSON."""


class Canaries(dict[str, str]):
    """By name, distinct secrets. What is looked for is the body of each: as it is, and as base64 has it inside of
    something else, whatever stands before it.
    """

    def __missing__(self, name: str) -> str:
        secret = self[name] = f"{_BODY}{len(self):02}{name}"
        return secret

    def found_in(self, texts: Mapping[str, bytes]) -> list[str]:
        """Which secret is in which text, and how it reads there."""
        return [
            f"{name} in {where}: …{content[max(0, at - 60) : at + 60]!r}…"
            for name, secret in self.items()
            for where, content in texts.items()
            for needle in _spellings(secret)
            if (at := content.lower().find(needle.lower())) >= 0
        ]


def _spellings(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield raw[::-1]
    for before in range(3):
        coded = base64.b64encode(b"x" * before + raw)
        # Characters that share bits with what stands before and after are left out.
        whole = coded[4 if before else 0 : len(coded) // 4 * 4 - 4]
        yield whole
        yield base64.b64encode(whole)[:-4]


def files_below(directory: Path, *, but: set[Path]) -> dict[str, bytes]:
    """What is in the files below `directory`, by their names, less the secret ones that a test put there."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path not in but
    }
