"""Conflicts: what a run does where the destination has other content under the tag."""

from __future__ import annotations

from image_syncer.oci import is_tag
from image_syncer.patterns import lazy_pattern
from image_syncer.values import TextEnum, Value

DEFAULT_BACKUP_TAG = "{tag}-{digest}"
_FIELD = lazy_pattern(r"\{([^{}]*)\}")
_EXAMPLES = {"tag": "t", "digest": "0" * 12, "date": "20200101", "time": "000000"}


class ConflictPolicy(TextEnum):
    """What happens to a tag that has other content; the values are the words of the command line."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    FAIL = "fail"
    BACKUP = "backup"


class OnConflict(Value, frozen=True):
    """A policy, and the tag under which a backup keeps the old content: `{tag}`, `{digest}` (its first twelve
    characters), `{date}` and `{time}` (of the start of the run, UTC) are filled in.
    """

    policy: ConflictPolicy = ConflictPolicy.OVERWRITE
    backup_tag: str = DEFAULT_BACKUP_TAG

    def __str__(self) -> str:
        return f"backup:{self.backup_tag}" if self.policy is ConflictPolicy.BACKUP else self.policy.value

    def name_backup(self, *, tag: str, digest: str, date: str, time: str) -> str:
        """Return the tag of a backup. Raises ValueError where it is no tag: it may be too long."""
        name = self.backup_tag.format(tag=tag, digest=digest, date=date, time=time)
        if not is_tag(name):
            raise ValueError(f"“{name}” is no tag")
        return name


def parse_on_conflict(text: str) -> OnConflict:
    """Parse a policy: `overwrite`, `skip`, `fail`, `backup` or `backup:TAG`. Raises ValueError.

    >>> str(parse_on_conflict("backup"))
    'backup:{tag}-{digest}'
    """
    word, colon, pattern = text.partition(":")
    try:
        policy = ConflictPolicy(word)
    except ValueError:
        raise ValueError(f"“{text}” is none of overwrite, skip, fail, backup and backup:TAG") from None
    if not colon:
        return OnConflict(policy)
    if policy is not ConflictPolicy.BACKUP:
        raise ValueError(f"{word} takes no tag")
    fields = _FIELD.findall(pattern)
    unknown = [field for field in fields if field not in _EXAMPLES]
    if unknown or "{" in _FIELD.sub("", pattern) or "}" in _FIELD.sub("", pattern):
        raise ValueError("in the tag can stand {tag}, {digest}, {date} and {time}")
    if "tag" not in fields and "digest" not in fields:
        raise ValueError("the tag needs {tag} or {digest}, or all backups would have the same")
    if pattern == "{tag}":
        raise ValueError("the tag for backups would be the one that is overwritten")
    if not is_tag(pattern.format(**_EXAMPLES)):
        raise ValueError(f"“{pattern}” makes no tag")
    return OnConflict(policy, pattern)
