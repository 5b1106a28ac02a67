"""`min_tags` of a rule: where it is written, and which numbers it cannot be."""

from __future__ import annotations

import pytest

from image_syncer.config import TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.config.tag_filters import VersionSelection
from image_syncer.errors import ConfigurationError

DIGEST = "sha256:" + "ab" * 32


def load(tmp_path, rule):
    path = tmp_path / "own.yaml"
    path.write_text(f"version: 2\nrules: [{rule}]\n", encoding="utf-8")
    return load_configuration(config=str(path), environ={})


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("{source: a.io/p, destination: b.io/p, min_tags: 3}", TagSelection(min_tags=3)),
        ("{source: 'a.io/p:/x/', destination: b.io/p, min_tags: 3}", TagSelection(regex="x", min_tags=3)),
        ("{source: 'a.io/p:1,2', destination: b.io/p, min_tags: 2}", TagSelection(names=("1", "2"), min_tags=2)),
        (
            "{source: a.io/p, destination: b.io/p, tags: {newest: 3}, min_tags: 3}",
            TagSelection(versions=VersionSelection(newest=3), min_tags=3),
        ),
        ("{source: a.io/**, destination: b.io/**, min_tags: 3}", TagSelection(min_tags=3)),
        ("{source: a.io/p, destination: b.io/p, min_tags: }", TagSelection()),
    ],
)
def test_it_is_read(tmp_path, rule, wanted):
    configuration = load(tmp_path, rule)
    [one] = configuration.rules or configuration.catalogs
    assert one.tags == wanted


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("{source: a.io/p, destination: b.io/p, min_tags: 0}", "0 is not a whole number from 1"),
        ("{source: 'a.io/p:1,2', destination: b.io/p, min_tags: 3}", "at least 3 tags, and the rule means 2 at most"),
        (
            "{source: a.io/p, destination: b.io/p, tags: {newest: 2}, min_tags: 3}",
            "at least 3 tags, and the rule means 2 at most",
        ),
        (f"{{source: 'a.io/p@{DIGEST}', destination: b.io/p, min_tags: 2}}", "at least 2 tags, and the rule means 1"),
        ("{source: a.io/*, destination: b.io/**, min_tags: x}", "x is not a whole number from 1"),
    ],
)
def test_what_it_cannot_be(tmp_path, rule, what):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, rule)
    [problem] = caught.value.problems
    assert problem.key == "rules[0] › min_tags"
    assert problem.what.startswith(what)
