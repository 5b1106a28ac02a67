from __future__ import annotations

import pytest

from image_syncer.config.loader import load_registries
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Repository, parse_repository


def read(tmp_path, text):
    path = tmp_path / "auth.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registries(str(path), environ={}).registries


def test_names_at_a_mirror_are_those_of_the_registry_under_its_path(tmp_path):
    book = read(tmp_path, "docker.io: {mirrors: [mirror.example:5000, harbor.example/hub/]}\n")
    assert book.mirrors_of(parse_repository("nginx")) == (
        Repository("mirror.example:5000", "library/nginx"),
        Repository("harbor.example", "hub/library/nginx"),
    )
    assert book.mirrors_of(parse_repository("quay.io/a/b")) == ()


def test_the_entry_with_the_longest_prefix_that_has_mirrors_counts(tmp_path):
    book = read(
        tmp_path,
        "quay.io: {mirrors: m.example}\n"
        "quay.io/team: {mirrors: [n.example/x]}\n"
        "quay.io/team/app: {username: a, password: b}\n",
    )
    assert book.mirrors_of(parse_repository("quay.io/team/app")) == (Repository("n.example", "x/team/app"),)
    assert book.mirrors_of(parse_repository("quay.io/other")) == (Repository("m.example", "other"),)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mirror", "“mirror” is no mirror"),
        ("https://mirror.example", "“https://mirror.example” is no mirror"),
        ("Mirror.example/Upper", "“Mirror.example/Upper” is no mirror"),
        ("quay.io", "“quay.io” is the registry itself"),
        ("[mirror.example, '']", "“” is no mirror"),
    ],
)
def test_what_is_no_mirror_is_told_with_its_line(tmp_path, text, what):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"quay.io:\n  mirrors: {text}\n")
    [problem] = caught.value.problems
    assert (problem.line, problem.key, problem.what) == (2, "quay.io › mirrors", what)
