"""How a journal is opened: for one run at a time, and for the meaning that it has.

A journal belongs to one meaning: the settings that decide what an image becomes, and the release. Another is refused,
with what differs.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from image_syncer.config import ForeignLayers, MissingPlatform
from image_syncer.errors import ConfigurationError, JournalError
from image_syncer.journal.journal import Journal
from image_syncer.journal.lock import JournalLock
from image_syncer.journal.records import (
    HEADER,
    NEW_JOURNAL,
    Change,
    Header,
    JournalReadError,
    parse_record,
)
from image_syncer.oci import ManifestFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config import Settings

__all__ = ["journal_of", "open_journal"]


def journal_of(settings: Settings) -> Journal | None:
    """The journal that the settings name, if they do. Raises JournalError; ConfigurationError where there is nothing to
    be written.
    """
    if settings.state_path is None:
        return None
    if settings.dry_run:
        raise ConfigurationError("a dry run does nothing that a journal could hold", hint="Leave --state out.")
    platforms = "" if settings.platform_filter.is_empty else str(settings.platform_filter)
    foreign, wanted = settings.foreign_layers, settings.manifest_format
    # Skipped or failed, an image is not in the journal; copied whole, it is.
    whole = settings.missing_platform is MissingPlatform.COPY
    meaning = {
        "--missing-platform": str(settings.missing_platform) if whole else "",
        "--os and --arch": platforms,
        "--force": "given" if settings.force else "",
        "--foreign-layers": "" if foreign is ForeignLayers.LEAVE else str(foreign),
        "--format": "" if wanted is ManifestFormat.KEEP else str(wanted),
    }
    return open_journal(settings.state_path, meaning)


def open_journal(path: str, meaning: Mapping[str, str]) -> Journal:
    """The journal in the file `path`, a new one where there is none.

    `meaning` are the settings that decide what an image becomes, by the names that people know. Raises JournalError
    where the journal is another run's, was written with another meaning or by another release, or cannot be used.
    """
    try:
        from image_syncer.journal.file import JournalFile, make_file
    except ImportError as error:
        raise JournalError(
            f"there can be no journal: this Python was built without SQLite ({error})",
            hint="Run it with another Python, or without --state.",
        ) from None
    path = os.path.realpath(path)
    with contextlib.ExitStack() as undo:
        lock = JournalLock(path)
        undo.callback(lock.release)
        make_file(path)
        reader = JournalFile(path)
        undo.callback(reader.close)
        header = Header(_program_version(), dict(meaning), datetime.now(timezone.utc).isoformat(timespec="seconds"))
        try:
            if not reader.prepare(Change("fact", HEADER, header.to_body())):
                _check_header(path, reader.get("fact", HEADER), header)
            reader.load_names()
            journal = Journal(path, lock, reader)
        except JournalReadError as error:
            raise JournalError(f"the journal {path} is damaged: {error}", hint=NEW_JOURNAL) from None
        undo.pop_all()
    return journal


def _check_header(path: str, body: bytes | None, ours: Header) -> None:
    theirs = None if body is None else parse_record(Header.from_body, body)
    if theirs is None:
        raise JournalError(f"the journal {path} is damaged: its header cannot be read", hint=NEW_JOURNAL)
    if theirs.program != ours.program:
        raise JournalError(
            f"the journal {path} was written by release {theirs.program} of image-syncer, and this is {ours.program}",
            hint=f"Go on with the release that wrote it. {NEW_JOURNAL}",
        )
    names = dict.fromkeys((*theirs.meaning, *ours.meaning))
    differences = [
        f"{name} was {theirs.meaning.get(name) or 'not given'} and is now {ours.meaning.get(name) or 'not given'}"
        for name in names
        if theirs.meaning.get(name, "") != ours.meaning.get(name, "")
    ]
    if differences:
        raise JournalError(
            f"the journal {path} is of a run with other settings: {'; '.join(differences)}",
            hint=f"Run it with the settings that it had. {NEW_JOURNAL}",
        )


def _program_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("image-syncer")
    except metadata.PackageNotFoundError:
        return "unknown"
