"""Rules for what a registry lists: from its catalog to copied images, and what goes wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.config import Settings
from image_syncer.config.loader import load_configuration
from image_syncer.embedded import Behaviour, Fault, TokenService
from image_syncer.errors import ConfigurationError
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.telemetry import ImageResult, Report
    from support.sync_runs import SyncLab

NAMES = ["app", "team/a", "team/b", "team/sub/c", "scratch/x"]


def run(
    lab: SyncLab, tmp_path: Path, rules: str, entry: str = "", **settings: object
) -> tuple[Report, list[ImageResult]]:
    """Sync by `rules`, in which {source} and {destination} are the registries."""
    path = tmp_path / "own.yaml"
    source, destination = lab.source.address, lab.destination.address
    path.write_text(
        f"version: 2\nregistries:\n  '{source}': {{insecure: true{entry}}}\n  '{destination}': {{insecure: true}}\n"
        f"rules:\n{rules.format(source=source, destination=destination)}",
        encoding="utf-8",
    )
    images: list[ImageResult] = []
    report = image_syncer.sync(
        load_configuration(config=str(path), environ={}), Settings(workers=1, **settings), on_image=images.append
    )
    return report, images


def push_all(lab: SyncLab) -> None:
    for name in NAMES:
        lab.image(1, name)


def test_a_whole_registry_in_pages(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    lab.source.behaviour = Behaviour(max_page_size=2)
    rules = "- {{source: '{source}/**', destination: '{destination}/copy/**', exclude: 'scratch/**'}}\n"
    report, images = run(lab, tmp_path, rules)
    assert report.exit_code == 0
    assert {image.outcome for image in images} == {Outcome.COPIED}
    assert sorted(lab.destination.storage.repositories()) == [
        "copy/app",
        "copy/team/a",
        "copy/team/b",
        "copy/team/sub/c",
    ]
    assert lab.source.counters.values().count("list catalog") == 3
    _report, images = run(lab, tmp_path, rules)
    assert {image.outcome for image in images} == {Outcome.UNCHANGED}


def test_collisions_are_found_before_anything_moves(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    report = tmp_path / "report.json"
    rules = "- {{source: '{source}/**', match: '(team|scratch)/.*', destination: '{destination}/\\1'}}\n"
    with pytest.raises(ConfigurationError) as caught:
        run(lab, tmp_path, rules, report_path=str(report))
    assert len(caught.value.problems) == 2
    assert f"would both go to {lab.destination.address}/team" in str(caught.value)
    assert f"{tmp_path}/own.yaml:6" in str(caught.value)
    assert lab.destination.storage.repositories() == []
    assert not report.exists()


@pytest.mark.extended
def test_copies_that_the_same_rule_would_copy_again(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    rules = "- {{source: '{source}/**', destination: ['{destination}/**', '{source}/copy/**']}}\n"
    with pytest.raises(ConfigurationError, match="which the same rule would find and copy in the next run") as caught:
        run(lab, tmp_path, rules)
    assert len(caught.value.problems) == 1
    assert sorted(lab.source.storage.repositories()) == sorted(NAMES)
    for _ in range(2):
        report, images = run(lab, tmp_path, rules.replace("}}\n", ", exclude: 'copy/**'}}\n"))
        assert (report.exit_code, len(images)) == (0, 2 * len(NAMES))


@pytest.mark.extended
def test_a_rule_that_names_one_of_the_repositories(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    rules = (
        "- {{source: '{source}/app', destination: '{destination}/app'}}\n"
        "- {{source: '{source}/*', destination: '{destination}/**'}}\n"
    )
    report, _images = run(lab, tmp_path, rules)
    assert report.exit_code == 0
    with pytest.raises(ConfigurationError, match="would both go to"):
        run(lab, tmp_path, rules.replace("/app', destination", "/team/a', destination"))


def test_a_registry_that_does_not_tell_fails_the_rule_alone(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    lab.source.behaviour = Behaviour(faults=(Fault("list catalog", status=401, times=None),))
    rules = (
        "- {{source: '{source}/**', destination: '{destination}/copy/**'}}\n"
        "- {{source: '{source}/app', destination: '{destination}/app'}}\n"
    )
    report, images = run(lab, tmp_path, rules, retries=0)
    outcomes = {image.source: image for image in images}
    lost = outcomes.pop(f"{lab.source.address}/**")
    assert (lost.outcome, lost.destination) == (Outcome.FAILED, f"{lab.destination.address}/copy/**")
    assert lost.error is not None
    assert lost.error["operation"] == "list catalog"
    assert [image.outcome for image in outcomes.values()] == [Outcome.COPIED]
    assert report.exit_code == 1


@pytest.mark.extended
def test_a_rule_whose_registry_did_not_tell_is_tried_again(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    lab.source.behaviour = Behaviour(faults=(Fault("list catalog", status=500, times=None),))
    rules = (
        "- {{source: '{source}/**', destination: ['{destination}/copy/**', '{destination}/x/\\1'], flatten: '-',\n"
        "   exclude: ['scratch/*'], platforms: linux/amd64, tags: {{versions: '>=1'}}}}\n"
    ).replace("\\\\", "\\")
    path = tmp_path / "report.json"
    run(lab, tmp_path, rules, retries=0, report_path=str(path))
    left = find_unfinished(image_syncer.load_report(str(path)))
    [rule] = load_configuration(config=str(tmp_path / "own.yaml"), environ={}).catalogs
    assert left.rules == ()
    assert [replace(one, origin=rule.origin) for one in left.catalogs] == [
        replace(rule, destinations=(template,)) for template in rule.destinations
    ]


@pytest.mark.extended
def test_a_name_that_nobody_can_use_fails_alone(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    body = '{"repositories": ["app", "UPPER/x"]}'
    lab.source.behaviour = Behaviour(faults=(Fault("list catalog", status=200, body=body, times=None),))
    path = tmp_path / "report.json"
    rules = "- {{source: '{source}/**', destination: '{destination}/**'}}\n"
    report, images = run(lab, tmp_path, rules, report_path=str(path))
    assert {image.source: image.outcome for image in images} == {
        f"{lab.source.address}/app:v1": Outcome.COPIED,
        f"{lab.source.address}/UPPER/x": Outcome.FAILED,
    }
    [lost] = [image.error for image in images if image.error is not None]
    assert lost["repository"] == lab.source.address  # the name is none that anybody could be told to look at
    assert report.exit_code == 1
    assert find_unfinished(image_syncer.load_report(str(path))).rules == ()


def test_a_pattern_that_fits_nothing_is_told(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    _report, images = run(lab, tmp_path, "- {{source: '{source}/none-*', destination: '{destination}/**'}}\n")
    assert [(image.outcome, image.reason) for image in images] == [
        (Outcome.SKIPPED, "no repository of the registry matches the rule")
    ]


@pytest.mark.extended
def test_the_list_is_asked_for_with_the_registrys_credential(lab: SyncLab, tmp_path: Path) -> None:
    push_all(lab)
    lab.source.behaviour = Behaviour(users={"robot": "hunter2hunter2"}, bearer=TokenService())
    rules = "- {{source: '{source}/team/*', destination: '{destination}/**'}}\n"
    report, images = run(lab, tmp_path, rules, ", username: robot, password: hunter2hunter2")
    assert report.exit_code == 0
    assert {image.outcome for image in images} == {Outcome.COPIED}
    assert lab.destination.storage.tag("team/a", "v1") is not None
