"""Pruning, as the user wants it: whether anything is deleted, how much at most, and what stays in any case."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from image_syncer.config.conflicts import DEFAULT_BACKUP_TAG
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_MOST", "Pruning", "is_backup", "parse_share"]

DEFAULT_MOST = 0.2
"""Of the tags of a repository, and of all tags: what retention takes in a day is less, and a mistake takes more."""

_BACKUP_DIGITS = 12
_FIELD = re.compile(r"\{(tag|digest|date|time)\}")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%", re.ASCII)
_PERCENT = 100.0


class Pruning(Value, frozen=True):
    """What may be deleted at destinations because no rule selects it any more.

    Nothing is where `delete` is not set: then it is told what would be. `most` is the share (0 to 1) of the tags of a
    repository, and of all, that may go; None: any. `keep` are patterns of tags that stay. Backups, which
    `--on-conflict backup` made under `backup_tag`, stay where `keep_backups`. With `empty_sources`, a source that has
    nothing the rule means counts; else nothing is pruned where it goes. `plan` has what may go at most, by
    repository: tags with their digests, and digests of manifests. With `orphans`, tags of cosign's and of lists of
    referrers may go that are about a manifest which is not in the repository.
    """

    delete: bool = False
    most: float | None = DEFAULT_MOST
    keep: tuple[str, ...] = ()
    keep_backups: bool = True
    backup_tag: str = DEFAULT_BACKUP_TAG
    empty_sources: bool = False
    orphans: bool = False
    plan: Mapping[str, tuple[frozenset[tuple[str, str]], frozenset[str]]] | None = None
    save_path: str | None = None

    def as_data(self) -> dict[str, object]:
        """What the report says of it."""
        return {
            "most": self.most,
            "keep": list(self.keep),
            "keep_backups": self.keep_backups,
            "backup_tag": self.backup_tag,
            "empty_sources": self.empty_sources,
            "orphans": self.orphans,
            "by_plan": self.plan is not None,
        }

    def why_kept(self, tag: str, digest_hex: str) -> str | None:
        """The reason for which a tag that no rule selects stays, or None; `digest_hex` is that of what it points at."""
        for pattern in self.keep:
            if fnmatchcase(tag, pattern):
                return f"--prune-keep {pattern}"
        if self.keep_backups and is_backup(tag, digest_hex, (DEFAULT_BACKUP_TAG, self.backup_tag)):
            return "it is a backup of --on-conflict backup"
        return None


def parse_share(text: str) -> float:
    """The share that `text` says: "20%". Raises ValueError.

    >>> parse_share("12.5%")
    0.125
    """
    match = _SHARE.fullmatch(text)
    share = float(match[1]) / _PERCENT if match else -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"“{text}” is no share: write 20%, or 100% for any")
    return share


def is_backup(tag: str, digest_hex: str, patterns: tuple[str, ...]) -> bool:
    """Whether a tag has one of the forms that backups are given; where that has a digest in it, it is the tag's own.

    >>> [is_backup(f"v1-{end}", "a" * 64, ("{tag}-{digest}",)) for end in ("a" * 12, "b" * 12, "alpine")]
    [True, False, False]
    """
    return any(
        (match := _form(pattern).fullmatch(tag)) is not None
        and match.groupdict().get("digest") in (None, digest_hex[:_BACKUP_DIGITS])
        for pattern in patterns
    )


@lru_cache
def _form(pattern: str) -> re.Pattern[str]:
    fields = {"tag": r"[\w.-]+", "date": r"\d{8}", "time": r"\d{6}", "digest": r"(?P<digest>[0-9a-f]{12})"}
    parts: list[str] = []
    for at, part in enumerate(_FIELD.split(pattern)):
        parts.append(fields[part] if at % 2 else re.escape(part))
        if at % 2 and part == "digest":
            fields["digest"] = "(?P=digest)"
    return re.compile("".join(parts), re.ASCII)
