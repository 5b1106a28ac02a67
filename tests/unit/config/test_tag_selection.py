"""Which tags a selection means."""

from __future__ import annotations

import pytest

from image_syncer.config import Destination, Rule, TagSelection
from image_syncer.oci import Digest, Reference, Repository, parse_reference

LISTED = ("1.0", "1.1", "1.1-rc1", "2.0", "latest")
DIGEST = Digest("sha256:" + "ab" * 32)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (TagSelection(), list(LISTED)),
        (TagSelection(names=("9", "1.0")), ["9", "1.0"]),
        (TagSelection(regex="rc"), ["1.1-rc1"]),
        (TagSelection(regex=r"^1\.[0-9]$"), ["1.0", "1.1"]),
        (TagSelection(include=("1.*",)), ["1.0", "1.1", "1.1-rc1"]),
        (TagSelection(include=("1.*", "latest"), exclude=("*rc?",)), ["1.0", "1.1", "latest"]),
        (TagSelection(exclude=("*rc*", "latest")), ["1.0", "1.1", "2.0"]),
        (TagSelection(include=("[12].0",), regex="^2"), ["2.0"]),
        (TagSelection(exclude_regex="rc|^l"), ["1.0", "1.1", "2.0"]),
        (TagSelection(regex="^1", exclude_regex="0$"), ["1.1", "1.1-rc1"]),
        (TagSelection(include=("LATEST*",)), []),
        (TagSelection(digest=DIGEST), []),
    ],
)
def test_select(selection, wanted):
    assert selection.select(LISTED) == wanted


@pytest.mark.parametrize(
    ("selection", "needs"),
    [
        (TagSelection(), True),
        (TagSelection(names=("1",)), False),
        (TagSelection(digest=DIGEST), False),
        (TagSelection(regex="x"), True),
        (TagSelection(include=("1.0", "1.1")), False),
        (TagSelection(include=("1.0", "1.?")), True),
        (TagSelection(exclude=("1.0",)), True),
        (TagSelection(exclude_regex="x"), True),
    ],
)
def test_needs_listing(selection, needs):
    assert selection.needs_listing is needs


def test_exact_includes_are_names_that_no_list_has_to_confirm():
    selection = TagSelection(include=("7", "8", "7"), exclude=("8",))
    assert selection.select(()) == ["7"]


def test_a_listed_tag_is_selected_once():
    assert TagSelection().select(["a", "b", "a"]) == ["a", "b"]


def test_destination_keeps_renames_or_repeats_the_digest():
    source = parse_reference("quay.io/a/b:1.0")
    there = Repository("r.io", "x")
    assert str(Destination(there).reference_for(source, 0)) == "r.io/x:1.0"
    assert str(Destination(there, tags=("p", "q")).reference_for(source, 1)) == "r.io/x:q"
    assert str(Destination(there, digest=DIGEST).reference_for(source, 0)) == f"r.io/x@{DIGEST}"


def test_a_digest_goes_to_a_tag_or_stays_a_digest():
    source = Reference(Repository("quay.io", "a/b"), None, DIGEST)
    there = Repository("r.io", "x")
    assert Destination(there).reference_for(source, 0) == Reference(there, None, DIGEST)
    assert Destination(there, tags=("v1",)).reference_for(source, 0) == Reference(there, "v1", None)


def test_pairs_of_a_rule_are_distinct():
    rule = Rule(
        Repository("quay.io", "a"),
        TagSelection(names=("1", "1", "2")),
        (Destination(Repository("r.io", "x")), Destination(Repository("r.io", "y"), tags=("a", "b", "c"))),
    )
    assert [(str(source), str(target)) for source, target in rule.pairs()] == [
        ("quay.io/a:1", "r.io/x:1"),
        ("quay.io/a:2", "r.io/x:2"),
        ("quay.io/a:1", "r.io/y:a"),
        ("quay.io/a:1", "r.io/y:b"),
        ("quay.io/a:2", "r.io/y:c"),
    ]


def test_references_of_a_rule_with_a_digest_and_with_a_list():
    repository = Repository("quay.io", "a")
    assert Rule(repository, TagSelection(digest=DIGEST), ()).references() == [Reference(repository, None, DIGEST)]
    assert [r.tag for r in Rule(repository, TagSelection(), ()).references(LISTED)] == list(LISTED)
