"""Tags by the time at which their images were created."""

from __future__ import annotations

import pytest

from image_syncer.config import TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.config.tag_filters import CreatedSelection
from image_syncer.errors import ConfigurationError

DAY = 86_400.0
NOW = 100 * DAY
TIMES = {"a": 10 * DAY, "b": 95 * DAY, "c": 99 * DAY, "d": 99 * DAY, "old": None}
JANUARY_31 = 1_769_817_600.0  # 2026-01-31T00:00:00Z


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (CreatedSelection(newest=2), ["c", "d"]),
        (CreatedSelection(newest=1), ["d"]),
        (CreatedSelection(newest=4), ["a", "b", "c", "d"]),
        (CreatedSelection(newest=9), ["a", "b", "c", "d", "old"]),
        (CreatedSelection(after=10 * DAY), ["b", "c", "d"]),
        (CreatedSelection(within_s=90 * DAY), ["b", "c", "d"]),
        (CreatedSelection(within_s=91 * DAY), ["a", "b", "c", "d"]),
        (CreatedSelection(after=98 * DAY, within_s=90 * DAY, newest=1), ["d"]),
        (CreatedSelection(after=NOW), []),
    ],
)
def test_select(selection, wanted):
    assert selection.select(list(TIMES), TIMES, NOW) == wanted


def load(tmp_path, created, more=""):
    path = tmp_path / "own.yaml"
    path.write_text(
        f"version: 2\nrules:\n- source: a.io/p\n  destination: b.io/p\n  tags:\n    created: {created}\n{more}",
        encoding="utf-8",
    )
    return load_configuration(config=str(path), environ={})


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("{newest: 3}", CreatedSelection(newest=3)),
        ("{after: 2026-01-31}", CreatedSelection(after=JANUARY_31)),
        ("{after: '2026-01-31T01:00:00+01:00'}", CreatedSelection(after=JANUARY_31)),
        ("{within: 90d, newest: 1}", CreatedSelection(newest=1, within_s=90 * DAY)),
        ("{within: 1d12h}", CreatedSelection(within_s=1.5 * DAY)),
    ],
)
def test_it_is_read_and_what_it_costs_is_told(tmp_path, written, wanted):
    configuration = load(tmp_path, written)
    [rule] = configuration.rules
    assert rule.tags == TagSelection(created=wanted)
    [warning] = configuration.warnings
    assert "two or three requests for each tag" in str(warning)


@pytest.mark.parametrize(
    ("written", "key", "what"),
    [
        ("{}", "", "no time is said"),
        ("5", "", "a single value, where keys"),
        ("{newest: 0}", " › newest", "0 is not a whole number from 1"),
        ("{after: yesterday}", " › after", "“yesterday” is no time"),
        ("{after: 2026-02-31}", " › after", "“2026-02-31” is no time"),
        ("{within: 90}", " › within", "“90” is no time"),
        ("{within: 90y}", " › within", "“90y” is no time"),
        ("{older: 3}", " › older", "unknown key"),
    ],
)
def test_what_it_cannot_be(tmp_path, written, key, what):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, written)
    problem = caught.value.problems[0]
    assert problem.key == f"rules[0] › tags › created{key}"
    assert what in problem.what


def test_names_alone_do_not_tell_what_is_there(tmp_path):
    [rule] = load(tmp_path, "{newest: 1}", '    include: ["v1", "v2"]\n').rules
    assert rule.tags.needs_listing
    assert rule.tags.most == 1
    with pytest.raises(ConfigurationError, match="at least 2 tags, and the rule means 1 at most"):
        load(tmp_path, "{newest: 1}", "  min_tags: 2\n")
