from __future__ import annotations

import pytest

from image_syncer.config.loader import load_registries
from image_syncer.config.registry_book import RepositoryTemplate
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_repository

APP = parse_repository("r.example.com/team/app")


def read(tmp_path, text):
    path = tmp_path / "auth.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registries(str(path), environ={}).registries


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("true", RepositoryTemplate()),
        ("false", None),
        ("{}", RepositoryTemplate()),
        (
            '{tags: {team: platform, "cost centre": 42}, immutable: yes, scan_on_push: false, kms_key: alias/own}',
            RepositoryTemplate(
                tags=(("team", "platform"), ("cost centre", "42")),
                immutable=True,
                scan_on_push=False,
                kms_key="alias/own",
            ),
        ),
        ("{public: true}", RepositoryTemplate(public=True)),
    ],
)
def test_a_flag_or_a_template(tmp_path, text, template):
    assert read(tmp_path, f"r.example.com: {{create_repositories: {text}}}\n").template_for(APP) == template


def test_the_longest_prefix_that_says_something_counts(tmp_path):
    book = read(
        tmp_path,
        "r.example.com: {create_repositories: true}\n"
        "r.example.com/team: {insecure: true}\n"
        "r.example.com/other: {create_repositories: false}\n"
        "r.example.com/third: {create_repositories: {immutable: true}}\n",
    )
    assert book.template_for(APP) == RepositoryTemplate()
    assert book.template_for(parse_repository("r.example.com/other/app")) is None
    assert book.template_for(parse_repository("r.example.com/third/app")) == RepositoryTemplate(immutable=True)
    assert book.template_for(parse_repository("elsewhere.example.com/third/app")) is None


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("perhaps", "create_repositories", "perhaps is not a boolean"),
        ("{public: perhaps}", "create_repositories › public", "perhaps is not a boolean"),
        ("{tags: [a]}", "create_repositories › tags", "a list, where keys with values are wanted"),
        ("{tags: {a: [b]}}", "create_repositories › tags › a", "a list, where one text is wanted"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, key, what):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"r.example.com:\n  create_repositories: {text}\n")
    [problem] = caught.value.problems
    assert (problem.line, problem.key) == (2, f"r.example.com › {key}")
    assert problem.what == what
