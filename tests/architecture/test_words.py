"""The repository speaks of image-syncer, not of the places where it was written.

The words are put together here, so that this file does not hold what it looks for.
"""

from __future__ import annotations

import re

import pytest

from architecture.source_tree import PROJECT, tracked_files

FORBIDDEN = {
    "a folder of one machine": re.compile(r"(?<![\w.~$}*-])/(?:" + "wo" + "rk|ro" + "ot|home/" + r"\w+)/"),
    "a tool of one machine": re.compile(r"\.py" + r"env\b|\bwork" + r"place\b", re.IGNORECASE),
    "a number in a tracker": re.compile(r"\bissue" + r"s?\s+#?\d+\b|(?<![\w&/])#\d+\b(?![-\w])", re.IGNORECASE),
}


NAMES = {
    ("Pur" + "se", "Pur" + "ses"): "ByteBudget",
    ("Byte" + "Desk",): "BandwidthLimiter",
    ("Turn" + "Desk", "Remote" + "Turns"): "RequestLimiter",
    ("Cho" + "res", "Err" + "ands"): "TaskSet, AuthorizationRequests",
    ("Par" + "cel", "Parcel" + "Mover"): "SmallBlob, SmallBlobCopy",
    ("Hold" + "ings",): "KnownBlobs",
    ("Mov" + "er", "Job" + "News"): "StreamedCopy, BlobCopy",
    ("Hab" + "its", "Qui" + "rks"): "RegistryCapabilities",
    ("patient" + "_writing",): "nonblocking_write",
    ("Lasting" + "Gate", "Bundle" + "Gate"): "LayoutServer",
}
"""Names that were used for these things once: the field has a term for each."""
PHRASES = {
    "is meant" + " by the rule": "matches the rule",
    "mistake" + " of ours": "internal error",
    "mistake" + " of image-syncer": "internal error",
    "neither true" + " nor false": "not a boolean",
    "we are" + " nobody": "anonymous",
    "is no" + " bench": "is not a benchmark file",
    "stood" + " still": "was suspended",
    "pruned" + " of ": "pruned 1 of 2 tags",
    "becomes" + " of": "happens to",
    "left" + " alone": "skipped, paused",
    "is" + " told": "gets, is reported",
    "are" + " told": "get, are reported",
    "who" + "ever": "name the actor: the user, the coordinator, the registry",
    "some" + "body": "the same",
    "no" + "body": "the same",
}
"""Paraphrases, and the usual term for each."""
EXCEPTED = re.compile(
    "this process stood still|an observer is told nothing more|since nobody read them"  # names of log events
    r"|`tests/[\w/.]+::\w+`|pycurl\.NOBODY"
)


def test_no_file_names_the_place_where_it_was_written() -> None:
    files = tracked_files()
    assert PROJECT / "README.md" in files
    found = [
        f"{path.relative_to(PROJECT)}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()}"
        for path in files
        if path.suffix != ".png"
        for text in [path.read_text(encoding="utf-8", errors="replace")]
        for what, word in FORBIDDEN.items()
        for match in word.finditer(text)
    ]
    assert found == []


def test_names_and_texts_use_the_terms_of_the_field() -> None:
    words = {word: term for names, term in NAMES.items() for word in names}
    names = re.compile(rf"\b(?:{'|'.join(words)})\b")
    phrases = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b", re.IGNORECASE)
    found = []
    for path in tracked_files():
        place = path.relative_to(PROJECT)
        if place.parts[0] in ("engine", "cli", "docs") or place.name == "README.md":
            text = EXCEPTED.sub("", path.read_text(encoding="utf-8", errors="replace"))
            found += [f"{place}: {name}: write {words[name]}" for name in names.findall(text)]
            found += [f"{place}: {phrase}: write {PHRASES[phrase.lower()]}" for phrase in phrases.findall(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("/wo" + "rk/main", True),
        ("see /ro" + "ot/x", True),
        ('"/home/' + 'jo/x"', True),
        ("docs/wo" + "rk/x", False),
        ("https://example.org/ro" + "ot/x", False),
        ("as in issue" + " 12", True),
        ("closes #" + "12", True),
        ("color: #" + "123abc", False),
        ("~/.docker/config.json", False),
    ],
)
def test_the_words_are_found(text: str, caught: bool) -> None:
    assert any(word.search(text) for word in FORBIDDEN.values()) is caught
