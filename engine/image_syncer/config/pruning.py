"""The settings of pruning: whether anything is deleted, how much at most, and what stays in any case."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from image_syncer.config.conflicts import DEFAULT_BACKUP_TAG
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping


DEFAULT_MOST = 0.2
"""Of the tags of a repository, and of all tags: daily retention deletes less, and a mistake more."""

_BACKUP_DIGITS = 12
_FIELD = lazy_pattern(r"\{(tag|digest|date|time)\}")
_SHARE = lazy_pattern(r"(\d{1,3}(?:\.\d{1,3})?)%", re.ASCII)
_PERCENT = 100.0


class Pruning(Value, frozen=True):
    """What may be deleted at destinations because no rule selects it any more.

    Without `delete`, the run only reports it. `most` is the largest share (0 to 1) of the tags of a repository, and of
    all tags, that is deleted; None: any. `keep` are patterns of tags that stay. Backups, which `--on-conflict backup`
    made under `backup_tag`, stay where `keep_backups`. Without `empty_sources`, nothing is pruned at the destinations
    of a source in which the rule selects nothing. `plan` bounds what is deleted, by repository: tags with their
    digests, and digests of manifests. With `orphans`, cosign's tags and lists of referrers are deleted whose manifest
    is not in the repository.
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
        """Return the settings for the report."""
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
        """Return why a tag that no rule selects stays, or None; `digest_hex` is that of its manifest."""
        for pattern in self.keep:
            if fnmatchcase(tag, pattern):
                return f"--prune-keep {pattern}"
        if self.keep_backups and is_backup(tag, digest_hex, (DEFAULT_BACKUP_TAG, self.backup_tag)):
            return "it is a backup of --on-conflict backup"
        return None


def parse_share(text: str) -> float:
    """Parse a share: "20%". Raises ValueError.

    >>> parse_share("12.5%")
    0.125
    """
    match = _SHARE.fullmatch(text)
    share = float(match[1]) / _PERCENT if match else -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"“{text}” is no share: write 20%, or 100% for any")
    return share


def is_backup(tag: str, digest_hex: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a tag has one of the forms of backups; a digest in it must be that of the tag's manifest.

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
