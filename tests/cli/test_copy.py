from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.oci import parse_platform, parse_repository

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files


def test_one_image_needs_no_file(command: Command, engine: FakeEngine) -> None:
    ran = command("copy", "nginx:1.27", "registry.example/mirror/nginx", "--retries", "5")
    assert (ran.code, ran.err) == (0, "")
    assert engine.configuration is not None
    [rule] = engine.configuration.rules
    assert [(str(source), str(destination)) for source, destination in rule.pairs()] == [
        ("docker.io/library/nginx:1.27", "registry.example/mirror/nginx:1.27")
    ]
    assert engine.settings is not None
    assert engine.settings.retries == 5


def test_all_tags_and_platforms(command: Command, engine: FakeEngine) -> None:
    words = ("--all-tags", "--platform", "linux/amd64", "--platform", "linux/arm64/v8")
    assert command("copy", "nginx", "registry.example/nginx", *words).code == 0
    assert engine.configuration is not None
    [rule] = engine.configuration.rules
    assert rule.tags.needs_listing
    assert rule.platforms == (parse_platform("linux/amd64"), parse_platform("linux/arm64/v8"))


def test_an_insecure_host_keeps_its_password(command: Command, engine: FakeEngine, files: Files) -> None:
    hosts = ("--insecure", "registry.example", "--insecure", "other.example:5000")
    words = ("copy", "a.example/x:1", "registry.example/x", "--auth", str(files.auth), *hosts)
    assert command(*words).code == 0
    assert engine.configuration is not None
    book = engine.configuration.registries
    entry = book.entry_for(parse_repository("registry.example/x"))
    assert entry is not None
    assert entry.credential is not None
    assert entry.credential.username == "me"
    assert book.host_settings("registry.example").insecure
    assert book.host_settings("other.example:5000").insecure
    assert not book.host_settings("a.example").insecure


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["copy", "nginx:1", "UPPER/x"], "DST"),
        (["copy", "nginx:1", "r.example/x", "--all-tags"], "--all-tags"),
        (["copy", "nginx:1", "r.example/x", "--platform", "a/b/c/d/e"], "--platform"),
        (["copy", "nginx:1", "r.example/x", "--auth", "no-such-file.yaml"], "no-such-file.yaml"),
    ],
)
def test_mistakes_are_the_users(command: Command, engine: FakeEngine, words: list[str], text: str) -> None:
    ran = command(*words)
    assert ran.code == 2
    assert text in ran.err
    assert len(ran.err.splitlines()) <= 3
    assert engine.settings is None


def test_a_bad_auth_file_is_told_with_all_its_problems(command: Command, engine: FakeEngine, tmp_path: Path) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text('{"a.example": {"insecure": "maybe"}, "b.example": 3}')
    ran = command("copy", "a:1", "a.example/a", "--auth", str(auth))
    assert ran.code == 2
    assert "a.example" in ran.err
    assert "b.example" in ran.err
