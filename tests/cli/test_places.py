"""Layouts as source and destination of the command, through the processes that serve them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_to

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, Ran
    from support.bad_input import Bench


class Desk:
    """The command, between two registries and the files in a folder."""

    def __init__(self, bench: Bench, command: Command) -> None:
        self.bench = bench
        self.command = command
        self.here = bench.directory

    def __call__(self, verb: str, *words: str) -> Ran:
        source, destination = self.bench.source.address, self.bench.destination.address
        filled = [word.replace("SRC", source).replace("DST", destination) for word in words]
        more = [] if "--config" in words else ["--insecure", source, "--insecure", destination]
        if verb in ("copy", "sync", "retry"):
            # One worker starts fastest. A run that takes long tells its progress, which no test here is about.
            more += ["--workers", "1", "--no-progress"]
        return self.command(verb, *filled, *more)

    def rules(self, text: str) -> str:
        addresses = (self.bench.source.address, self.bench.destination.address)
        registries = ", ".join(f'"{address}": {{insecure: true}}' for address in addresses)
        path = self.here / "rules.yaml"
        path.write_text(
            f"version: 2\nregistries: {{{registries}}}\nrules:\n"
            + text.replace("SRC", addresses[0]).replace("DST", addresses[1])
        )
        return str(path)


@pytest.fixture
def desk(bench: Bench, command: Command, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(bench.directory)
    return Desk(bench, command)


@pytest.fixture
def image(desk: Desk) -> MadeManifest:
    made = ContentBuilder(9).index(attestations=True)
    push_to(desk.bench.source.storage, "team/app", made, ["1.0"])
    return made


def names(root: Path) -> list[str]:
    entries = json.loads((root / "index.json").read_text())["manifests"]
    return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]


def test_there_and_back_are_the_same_bytes(desk: Desk, image: MadeManifest) -> None:
    assert desk("copy", "SRC/team/app:1.0", "oci:dir").code == 0
    ran = desk("copy", "oci:dir", "DST/back/app")
    assert (ran.code, ran.err) == (0, "")
    storage = desk.bench.destination.storage
    assert storage.tag("back/app", "1.0") == image.digest
    found = storage.manifest("back/app", storage.tag("back/app", "1.0"))
    assert storage.read_manifest(found) == image.raw


@pytest.mark.extended
def test_the_second_run_moves_nothing(desk: Desk, image: MadeManifest) -> None:
    assert "1 copied" in desk("copy", "SRC/team/app:1.0", "oci:dir").out
    before = (desk.here / "dir/index.json").stat().st_ino
    assert "1 unchanged" in desk("copy", "SRC/team/app:1.0", "oci:dir").out
    assert (desk.here / "dir/index.json").stat().st_ino == before


@pytest.mark.extended
def test_several_repositories_into_one_layout_and_out_of_it(desk: Desk, image: MadeManifest) -> None:
    push_to(desk.bench.source.storage, "team/sub/other", ContentBuilder(3).image(), ["x", "y"])
    rules = desk.rules("- source: SRC/team/**\n  destination: oci:many:**\n")
    report = desk.here / "report.json"
    ran = desk("sync", "--config", rules, "--state", "state", "--report", str(report))
    assert (ran.code, ran.err) == (0, "")
    assert sorted(names(desk.here / "many")) == ["team/app:1", "team/app:1.0", "team/sub/other:x", "team/sub/other:y"]
    rules = desk.rules("- source: oci:many:**\n  destination: DST/**\n")
    assert desk("diff", "--config", rules).code == 1
    assert desk("sync", "--config", rules).code == 0
    assert desk("diff", "--config", rules).code == 0
    assert "4 equal" in desk("verify", "--deep", "--config", rules).out
    assert desk.bench.destination.storage.repositories() == ["team/app", "team/sub/other"]


@pytest.mark.extended
def test_a_layout_that_was_removed_is_made_again_whatever_the_journal_says(desk: Desk, image: MadeManifest) -> None:
    rules = desk.rules("- source: SRC/team/app:1.0\n  destination: oci:dir\n")
    assert "1 copied" in desk("sync", "--config", rules, "--state", "state").out
    for path in sorted((desk.here / "dir").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert "1 copied" in desk("sync", "--config", rules, "--state", "state").out
    assert "1 equal" in desk("verify", "--config", rules).out


def test_a_plan_makes_nothing(desk: Desk, image: MadeManifest) -> None:
    rules = desk.rules("- source: SRC/team/app:1.0\n  destination: oci:dir\n")
    assert "1 would be copied" in desk("plan", "--config", rules).out
    assert desk("sync", "--config", rules, "--dry-run").code == 0
    assert not (desk.here / "dir").exists()


def test_a_name_that_is_not_there_is_told_with_those_that_are(desk: Desk, image: MadeManifest) -> None:
    assert desk("copy", "SRC/team/app:1.0", "oci:dir").code == 0
    ran = desk("copy", "oci:dir:2.0", "DST/x")
    assert ran.code == 1
    assert "there is no image 2.0 there; there is 1.0" in ran.err


@pytest.mark.extended
def test_several_images_and_no_name_is_a_mistake(desk: Desk, image: MadeManifest) -> None:
    assert desk("copy", "SRC/team/app", "oci:dir:team/app", "--all-tags").code == 0
    ran = desk("copy", "oci:dir", "DST/x")
    assert ran.code == 2
    assert "there are 2 images in it, and the source does not say which: team/app:1, team/app:1.0" in ran.err


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("oci:nowhere:1", "DST/x", "give the path of a layout that exists"),
        ("oci:notes:1", "DST/x", "is no image layout: it has no file oci-layout"),
        ("SRC/team/app:1", "oci:notes", "is no image layout, and has a.txt in it"),
        ("SRC/team/app:1", "oci:notes/a.txt", "cannot make the directory"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_runs(
    desk: Desk, source: str, destination: str, words: str
) -> None:
    (desk.here / "notes").mkdir()
    (desk.here / "notes/a.txt").touch()
    ran = desk("copy", source, destination)
    assert ran.code == 2
    assert words in ran.err
    assert [each.name for each in (desk.here / "notes").iterdir()] == ["a.txt"]


def test_a_destination_is_not_made_where_the_source_cannot_be_used(desk: Desk) -> None:
    assert desk("copy", "oci:nowhere:1", "oci:out").code == 2
    assert not (desk.here / "out").exists()


@pytest.mark.extended
def test_what_failed_is_tried_again_from_the_report(desk: Desk, image: MadeManifest) -> None:
    report = str(desk.here / "report.json")
    assert desk("copy", "SRC/team/app:1.0", "oci:dir:team/app:1.0").code == 0
    assert desk("copy", "oci:dir:team/app:2.0", "oci:out:mine/app", "--report", report, "--retries", "0").code == 1
    push_to(desk.bench.source.storage, "team/app", ContentBuilder(5).image(), ["2.0"])
    assert desk("copy", "SRC/team/app:2.0", "oci:dir:team/app:2.0").code == 0
    ran = desk("retry", "--report", report)
    assert (ran.code, ran.err) == (0, "")
    assert names(desk.here / "out") == ["mine/app:2.0"]


@pytest.mark.extended
def test_referrers_come_along(desk: Desk, image: MadeManifest) -> None:
    signature = ContentBuilder(8).artifact("application/vnd.example.signature", subject=image)
    push_to(desk.bench.source.storage, "team/app", signature)
    assert desk("copy", "SRC/team/app:1.0", "oci:dir:team/app", "--referrers", "all").code == 0
    assert desk("copy", "oci:dir:team/app:1.0", "DST/back", "--referrers", "all").code == 0
    found = desk.bench.destination.storage.referrers("back", image.digest)
    assert [each.digest for each in found] == [signature.digest]
