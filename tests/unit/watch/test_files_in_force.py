"""The files in force are those that were read last without mistakes."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from image_syncer.config import Configuration, Destination, Rule, Settings, TagSelection
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Repository
from image_syncer.watch.orders import round_settings
from image_syncer.watch.server import PushedRepository
from image_syncer.watch.watcher import FilesInForce


def rule(name: str) -> Rule:
    source, destination = Repository("src.example", name), Repository("dst.example", name)
    return Rule(source, TagSelection(), (Destination(destination),))


def test_what_is_new_is_told_and_all_of_it_is_in_force() -> None:
    written = [rule("old")]
    files = FilesInForce(lambda: Configuration(tuple(written)))
    written.append(rule("new"))
    assert [str(one.source) for one in files.read_again().rules] == ["src.example/new"]
    assert len(files.configuration.rules) == 2
    assert files.index.about(PushedRepository("src.example", "new")) == [Repository("src.example", "new")]
    assert files.read_again().rules == ()


def test_files_with_mistakes_change_nothing() -> None:
    mistakes: list[ConfigurationError] = []

    def load() -> Configuration:
        if mistakes:
            raise mistakes[0]
        return Configuration((rule("old"),))

    files = FilesInForce(load)
    before = files.configuration
    mistakes.append(ConfigurationError("no"))
    with pytest.raises(ConfigurationError):
        files.read_again()
    assert files.configuration is before
    assert files.index.about(PushedRepository("src.example", "old"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [(None, None), ("r.json", "r.json"), ("r-{time}.json", "r-20260102T030405.000006Z.json")],
)
def test_the_name_of_a_report_may_say_when_its_run_began(path: str | None, expected: str | None) -> None:
    began = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    assert round_settings(Settings(report_path=path), began).report_path == expected
