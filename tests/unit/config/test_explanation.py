"""Which rule selects an image, or why none does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.config import Configuration, Destination, Rule, TagSelection
from image_syncer.config.explanation import SeenTags, explain_image, tags_to_date
from image_syncer.config.loader import load_configuration
from image_syncer.config.regex import translate_glob, written_glob
from image_syncer.config.tag_filters import CreatedSelection, VersionSelection
from image_syncer.oci import Digest, Reference, Repository, parse_reference

APP = Repository("a.io", "team/app")
OTHER = Repository("a.io", "team/web")
DIGEST = Digest("sha256:" + "ab" * 32)


def verdict_of(selection, tag, listed=None, destination=None):
    rule = Rule(APP, selection, (destination or Destination(Repository("b.io", "app")),), origin="f.yaml:3")
    found = explain_image(Configuration((rule,)), Reference(APP, tag, None), SeenTags(listed))
    [verdict] = found.verdicts
    return verdict


@pytest.mark.parametrize(
    ("selection", "tag", "meant", "said"),
    [
        (TagSelection(), "v1", True, "the rule means every tag"),
        (TagSelection(names=("v1", "v2")), "v2", True, "the source names the tag"),
        (TagSelection(names=("v1", "v2")), "v3", False, "the source names v1, v2"),
        (TagSelection(names=tuple("abcdefghij")), "x", False, "the source names a, b, c, d, e, f, g, h and 2 more"),
        (TagSelection(digest=DIGEST), "v1", False, f"the rule names a digest and no tag: {DIGEST}"),
        (TagSelection(include=("w*", "v*")), "v1", True, "include: “v*” fits"),
        (TagSelection(include=("w*", "x")), "v1", False, "include: none fits of w*, x"),
        (TagSelection(include=("v1",)), "v1", True, "include: “v1” fits"),
        (TagSelection(exclude=("*-rc",)), "v1-rc", False, "exclude: “*-rc” fits"),
        (TagSelection(exclude=("*-rc",)), "v1", True, "exclude: none fits of *-rc"),
        (TagSelection(regex="^v"), "v1", True, "regex: “^v” is found in it"),
        (TagSelection(regex="^v"), "1", False, "regex: “^v” is not found in it"),
        (TagSelection(exclude_regex="rc"), "v1-rc", False, "exclude_regex: “rc” is found in it"),
        (TagSelection(exclude_regex="rc"), "v1", True, "exclude_regex: “rc” is not found in it"),
        (TagSelection(versions=VersionSelection(">=1")), "1.2", True, "versions: the tag is a version in >=1"),
        (TagSelection(versions=VersionSelection(">=2")), "1.2", False, "versions: 1.2.0 is not in >=2"),
        (TagSelection(versions=VersionSelection(">=2")), "latest", False, "versions: the tag is no version"),
        (TagSelection(versions=VersionSelection("*")), "1.2-rc", False, "prereleases: the tag is a prerelease, and"),
        (TagSelection(versions=VersionSelection("*", suffix="-x")), "1", False, "suffix: the tag does not end with"),
        (TagSelection(versions=VersionSelection(newest=2)), "1", None, "newest: whether it is among the newest 2"),
        (TagSelection(created=CreatedSelection(newest=2)), "1", None, "created: when its image was created decides"),
        (TagSelection(min_tags=2), "1", True, "min_tags: the rule fails where it does not select at least 2 tags"),
    ],
)
def test_a_condition_is_a_sentence(selection, tag, meant, said):
    verdict = verdict_of(selection, tag)
    assert verdict.meant is meant
    assert verdict.reasons[-1].holds is meant
    assert verdict.reasons[-1].text.startswith(said)
    assert verdict.origin == "f.yaml:3"
    assert bool(verdict.destinations) is (meant is not False)


@pytest.mark.parametrize(
    ("tag", "listed", "meant", "said"),
    [
        ("3", ["1", "2", "3"], True, "newest: the newest 2 are 2, 3"),
        ("1", ["1", "2", "3"], False, "newest: the newest 2 are 2, 3"),
        ("9", ["1"], False, "newest: the newest 2 are 1"),
        ("9", [], False, "newest: the newest 2 are none"),
    ],
)
def test_the_list_decides_which_are_the_newest(tag, listed, meant, said):
    verdict = verdict_of(TagSelection(versions=VersionSelection(newest=2)), tag, listed)
    assert (verdict.meant, verdict.reasons[-1].text) == (meant, said)
    assert verdict.reasons[-2].holds is (tag in listed)


def test_too_few_tags_leave_every_tag_out():
    verdict = verdict_of(TagSelection(min_tags=3), "1", ["1", "2"])
    assert verdict.meant is False
    assert verdict.reasons[-1].text == "min_tags: the rule selects 2 tags, and wants at least 3"


@pytest.mark.parametrize(
    ("created", "tag", "meant", "said", "asked"),
    [
        (
            CreatedSelection(newest=2),
            "b",
            True,
            "created: its image was created 1970-01-03 00:00:00 UTC; the newest 2 are b, c",
            ["a", "b", "c"],
        ),
        (
            CreatedSelection(newest=1),
            "a",
            False,
            "created: its image does not say when it was created; the newest 1 are c",
            ["a", "b", "c"],
        ),
        (CreatedSelection(within_s=86_400.0), "b", False, "created: its image was created 1970-01-03", ["b"]),
        (CreatedSelection(after=1.0), "b", True, "created: its image was created 1970-01-03", ["b"]),
    ],
)
def test_when_its_image_was_created(created, tag, meant, said, asked):
    listed, times = ["a", "b", "c", "x1"], {"a": None, "b": 2 * 86_400.0, "c": 5 * 86_400.0}
    selection = TagSelection(include=("?",), created=created)
    configuration = Configuration((Rule(APP, selection, (Destination(Repository("b.io", "app")),)),))
    image = Reference(APP, tag, None)
    wanted = tags_to_date(configuration, image, listed)
    assert wanted == asked
    seen = SeenTags(listed, {each: times[each] for each in wanted}, 6 * 86_400.0)
    [verdict] = explain_image(configuration, image, seen).verdicts
    assert (verdict.meant, verdict.reasons[-1].text.startswith(said)) == (meant, True)
    assert tags_to_date(configuration, Reference(APP, "x1", None), listed) == []


def test_where_it_goes():
    renamed = Destination(Repository("b.io", "app"), tags=("x", "y"))
    assert verdict_of(TagSelection(names=("v1", "v2")), "v2", None, renamed).destinations == ("b.io/app:y",)
    assert verdict_of(TagSelection(), "v2").destinations == ("b.io/app:v2",)


@pytest.mark.parametrize(
    ("selection", "image", "meant", "places"),
    [
        (TagSelection(digest=DIGEST), f"a.io/team/app@{DIGEST}", True, (f"b.io/app@{DIGEST}",)),
        (TagSelection(digest=DIGEST), "a.io/team/app@sha256:" + "cd" * 32, False, ()),
        (TagSelection(), f"a.io/team/app@{DIGEST}", False, ()),
        (TagSelection(regex="x"), "a.io/team/app", True, ("b.io/app",)),
    ],
)
def test_digests_and_whole_repositories(selection, image, meant, places):
    rule = Rule(APP, selection, (Destination(Repository("b.io", "app")),))
    [verdict] = explain_image(Configuration((rule,)), parse_reference(image)).verdicts
    assert (verdict.meant, verdict.destinations) == (meant, places)


def test_catalog_rules(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "version: 2\nrules:\n"
        "- {source: 'a.io/team/*', destination: 'b.io/**', exclude: ['*/web', 'x/*']}\n"
        "- {source: 'a.io/*', destination: 'b.io/**'}\n"
        "- {source: 'a.io/**', match: '(team|x)/.*', destination: 'b.io/\\1'}\n"
        "- {source: 'a.io/**', match: 'te.*', destination: 'b.io/x/**', tags: {include: 'v*'}}\n"
        "- {source: 'c.io/**', destination: 'b.io/c/**'}\n",
        encoding="utf-8",
    )
    configuration = load_configuration(config=str(path), environ={})
    found = explain_image(configuration, Reference(APP, "v1", None))
    assert [(verdict.origin.rpartition(":")[2], verdict.meant, verdict.destinations) for verdict in found.verdicts] == [
        ("3", True, ("b.io/team/app:v1",)),
        ("4", False, ()),
        ("5", True, ("b.io/team:v1",)),
        ("6", True, ("b.io/x/team/app:v1",)),
    ]
    assert (found.meant, found.others) == (True, 1)
    texts = [reason.text for verdict in found.verdicts for reason in verdict.reasons]
    assert "the pattern “team/*” fits team/app" in texts
    assert "exclude: none fits of */web, x/*" in texts
    assert "the pattern “*” does not fit team/app" in texts
    assert "match: “(team|x)/.*” matches the whole name team/app" in texts
    [first, *_] = explain_image(configuration, Reference(OTHER, "v1", None)).verdicts
    assert (first.meant, first.reasons[-1].text) == (False, "exclude: “*/web” fits")


def test_rules_about_other_repositories_are_counted():
    rules = [Rule(OTHER, TagSelection(), (Destination(Repository("b.io", "web")),))] * 3
    found = explain_image(Configuration(tuple(rules)), Reference(APP, "v1", None))
    assert (found.verdicts, found.others, found.meant) == ((), 3, False)


TAGS = ["1", "1.1", "2", "v3", "1-rc", "latest", "1-alpine"]
SELECTIONS = st.builds(
    TagSelection,
    regex=st.sampled_from([None, "^1", "v"]),
    include=st.sampled_from([(), ("1*",), ("1", "2"), ("v?", "l*")]),
    exclude=st.sampled_from([(), ("*rc",), ("1",)]),
    exclude_regex=st.sampled_from([None, "l"]),
    min_tags=st.sampled_from([0, 0, 2]),
    versions=st.none()
    | st.builds(
        VersionSelection,
        within=st.sampled_from([None, "*", ">=2", "1.x"]),
        prereleases=st.booleans(),
        newest=st.sampled_from([None, 1, 2]),
        suffix=st.sampled_from(["", "-alpine"]),
    ),
)


@given(SELECTIONS, st.sampled_from(TAGS), st.lists(st.sampled_from(TAGS), unique=True))
def test_it_is_what_a_run_selects(selection, tag, listed):
    chosen = selection.select(listed)
    enough = not selection.needs_listing or len(chosen) >= selection.min_tags
    assert verdict_of(selection, tag, listed).meant is (tag in chosen and enough)


@given(st.text("ab/-_.*?", min_size=1, max_size=12))
def test_a_pattern_is_shown_as_it_was_written(glob):
    assert translate_glob(written_glob(translate_glob(glob))) == translate_glob(glob)
