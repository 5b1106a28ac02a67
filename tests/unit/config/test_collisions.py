"""Rules that write the same place."""

from __future__ import annotations

import pytest

from image_syncer.config.loader import load_configuration
from image_syncer.errors import ConfigurationError

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def load(tmp_path):
    def load_images(text):
        path = tmp_path / "i.yaml"
        path.write_text(text)
        try:
            configuration = load_configuration(images=str(path), environ={})
        except ConfigurationError as error:
            return [problem.what.replace(str(path), "i.yaml") for problem in error.problems], None
        return [warning.what.replace(str(path), "i.yaml") for warning in configuration.warnings], configuration

    return load_images


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a.io/a:1: r.io/x:1\na.io/b:2: r.io/x:1\n", "r.io/x:1 is also written from a.io/a:1 (i.yaml:1)"),
        ("a.io/a:1: r.io/x\na.io/b:1,2: r.io/x\n", "r.io/x:1 is also written from a.io/a:1 (i.yaml:1)"),
        ("a.io/a:1,2: r.io/x:p,p\n", "r.io/x:p is also written from a.io/a:1 (i.yaml:1)"),
        ("a.io/a:1: [r.io/x:p, r.io/y]\na.io/a:2: r.io/x:p\n", "r.io/x:p is also written from a.io/a:1 (i.yaml:1)"),
        (
            f"a.io/a@{DIGEST}: r.io/x:p\na.io/a:2: r.io/x:p\n",
            f"r.io/x:p is also written from a.io/a@{DIGEST} (i.yaml:1)",
        ),
    ],
)
def test_different_sources_for_one_tag_are_an_error(load, text, what):
    whats, configuration = load(text)
    assert configuration is None
    assert whats == [what]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a.io/a:1: r.io/x\na.io/a:1,2: r.io/x\n", "a.io/a:1 to r.io/x:1 is already written at i.yaml:1"),
        ("a.io/a: r.io/x\na.io/a:1: r.io/x\n", "a.io/a:1 to r.io/x:1 is already part of i.yaml:1"),
        ("a.io/a:/1/: r.io/x\na.io/b:1: r.io/x\n", "r.io/x:1 may also be written from a.io/a (i.yaml:1)"),
        ("a.io/a: r.io/x\na.io/a:1: r.io/x:2\n", "r.io/x:2 may also be written from a.io/a (i.yaml:1)"),
        ("a.io/a: [r.io/x, r.io/x]\n", "the destination “r.io/x” is written twice"),
        ("a.io/a:1: a.io/a\n", "a.io/a:1 is copied to itself"),
        (
            "a.io/a: r.io/x\na.io/b:/1/: r.io/x\n",
            "tags that both a.io/b and a.io/a (i.yaml:1) have overwrite each other in r.io/x",
        ),
    ],
)
def test_what_may_be_meant_is_a_warning(load, text, what):
    whats, configuration = load(text)
    assert configuration is not None
    assert whats == [what]


@pytest.mark.parametrize(
    "text",
    [
        "a.io/a:1: r.io/x:1\na.io/b:1: r.io/y:1\n",
        "a.io/a:1: r.io/x:1\na.io/b:1: r.io/x:2\n",
        f"a.io/a@{DIGEST}: r.io/x\na.io/b@{DIGEST}: r.io/x\n",
        "a.io/a:/^v/: r.io/x\na.io/b:1: r.io/x\n",
        "a.io/a:1: a.io/a:2\n",
        "a.io/a:/^v/: r.io/x\na.io/a:/^w/: r.io/x\n",
        "a.io/a:1,1: r.io/x\n",
    ],
)
def test_what_is_no_collision(load, text):
    whats, configuration = load(text)
    assert configuration is not None
    assert whats == []
