"""Lists that break in the middle, and that change while they are read: nothing comes twice, and nothing begins anew."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.config import Settings
from image_syncer.config.loader import load_configuration
from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    Fault,
    FaultKind,
    MemoryStorage,
    PageMarker,
    push_to,
    serve_in_thread,
)
from image_syncer.telemetry import Outcome
from support.outages import Outage, after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from image_syncer.embedded import CounterValues, EmbeddedRegistry
    from image_syncer.telemetry import ImageResult, Report

PAGE = 3
NAMES = [f"team/app-{number:02}" for number in range(30)]
TAGS = [f"v{number:02}" for number in range(30)]


class ChangingStorage(MemoryStorage):
    """`before_list` says what happens before a list of that number (from 1) is answered: of repositories, of tags."""

    def __init__(self) -> None:
        super().__init__()
        self.before_list: dict[tuple[str, int], Callable[[], object]] = {}
        self.lists = {"repositories": 0, "tags": 0}

    def repositories(self) -> list[str]:
        self._next("repositories")
        return super().repositories()

    def tags(self, repository: str) -> Sequence[str]:
        self._next("tags")
        return super().tags(repository)

    def _next(self, noun: str) -> None:
        self.lists[noun] += 1
        self.before_list.pop((noun, self.lists[noun]), lambda: None)()

    def drop(self, repository: str) -> None:
        del self._repositories[repository]


class Bench:
    """A registry whose lists come three names at a time, and runs of a rule for all of it."""

    def __init__(self, source: EmbeddedRegistry, destination: EmbeddedRegistry, directory: Path) -> None:
        self.source = source
        self.destination = destination
        self.image = ContentBuilder(seed=3).image(1)
        self._directory = directory

    @property
    def storage(self) -> ChangingStorage:
        assert isinstance(self.source.storage, ChangingStorage)
        return self.source.storage

    def push(self, names: Sequence[str], tags: Sequence[str] = ("v1",)) -> None:
        for name in names:
            push_to(self.storage, name, self.image, tags)

    def run(
        self, *, min_tags: int = 0, on_image: Callable[[ImageResult], None] = lambda _image: None, **settings: object
    ) -> tuple[Report, list[ImageResult], CounterValues]:
        config = self._directory / "own.json"
        insecure = {each.address: {"insecure": True} for each in (self.source, self.destination)}
        rule = {"source": f"{self.source.address}/**", "destination": f"{self.destination.address}/**"}
        rules = [{**rule, "min_tags": min_tags} if min_tags else rule]
        document = {"version": 2, "registries": insecure, "rules": rules}
        config.write_text(json.dumps(document))
        images: list[ImageResult] = []
        before = self.source.counters.values()
        report = image_syncer.sync(
            load_configuration(config=str(config), environ={}),
            Settings(workers=1, **settings),
            on_image=lambda image: (images.append(image), on_image(image)),
        )
        places = [image.destination for image in images]
        assert len(set(places)) == len(places)
        return report, images, self.source.counters.values().minus(before)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        source = stack.enter_context(serve_in_thread(ChangingStorage(), Behaviour(max_page_size=PAGE)))
        yield Bench(source, stack.enter_context(serve_in_thread()), tmp_path)


BREAKS = {
    "cut off": Fault("*", FaultKind.RESET),
    "answer lost": Fault("*", FaultKind.LOST_ANSWER),
    "out of order": Fault("*", status=503, times=2),
}


@pytest.mark.parametrize("what", ["list tags", "list catalog"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_list_goes_on_from_the_page_on_which_it_broke(bench: Bench, what: str, how: str) -> None:
    names, tags = (["team/app"], TAGS) if what == "list tags" else (NAMES, ["v1"])
    bench.push(names, tags)
    last = (tags if what == "list tags" else names)[6 * PAGE - 1]  # the seventh page is what follows
    fault = replace(BREAKS[how], operation=what, match=f"last={last}".replace("/", "%2F"))
    bench.source.behaviour = Behaviour(max_page_size=PAGE, faults=(fault,))
    report, images, asked = bench.run()
    assert report.exit_code == 0
    assert len(images) == 30
    assert {image.outcome for image in images} == {Outcome.COPIED}
    assert asked.count(what) == 30 // PAGE + (fault.times or 0)


@pytest.mark.extended
def test_a_list_goes_on_when_a_registry_is_back(tmp_path: Path) -> None:
    storage, lists_then = ChangingStorage(), []
    outage = Outage(Behaviour(max_page_size=PAGE, latency_s=0.15), storage)

    def go_away() -> None:
        lists_then.append(storage.lists["tags"])
        outage.begin_for(1.0)

    with closing(outage), serve_in_thread() as destination:
        bench = Bench(outage.registry, destination, tmp_path)
        bench.push(["team/app"], TAGS)
        push_to(destination.storage, "team/app", bench.image, TAGS[:PAGE])  # unchanged, and so soon done
        report, images, _asked = bench.run(on_image=after(1, go_away))
    assert report.exit_code == 0
    assert len(images) == 30
    [before] = lists_then
    assert 0 < before < 30 // PAGE
    assert storage.lists["tags"] <= 30 // PAGE + 1  # the page whose answer was cut off comes again


def test_a_page_that_is_never_told_fails_the_rule_and_nothing_else(bench: Bench) -> None:
    bench.push(["team/app"], TAGS)
    bench.push(["team/other"])
    fault = Fault("list tags", status=500, times=None, match="last=v05")
    bench.source.behaviour = Behaviour(max_page_size=PAGE, faults=(fault,))
    report, images, _asked = bench.run(retries=1)
    assert report.exit_code == 1
    copied = sorted(image.source.rpartition("/")[2] for image in images if image.outcome is Outcome.COPIED)
    assert copied == [*(f"app:{tag}" for tag in TAGS[: 2 * PAGE]), "other:v1"]
    [lost] = [image for image in images if image.outcome is Outcome.FAILED]
    assert lost.error is not None
    assert lost.error["operation"] == "list tags"


@pytest.mark.extended
def test_repositories_that_come_and_go_while_they_are_listed(bench: Bench) -> None:
    """One that was listed and one that was not yet are deleted, others come before and behind the place."""
    bench.push(NAMES)

    def change() -> None:
        bench.storage.drop(NAMES[1])
        bench.storage.drop(NAMES[20])
        bench.push(["team/app-00b", "team/app-25b"])

    bench.storage.before_list["repositories", 5] = change
    report, images, _asked = bench.run()
    assert report.exit_code == 0
    names = {image.source.removeprefix(f"{bench.source.address}/").partition(":")[0]: image for image in images}
    gone = names.pop(NAMES[1])
    assert (gone.outcome, gone.source) == (Outcome.SKIPPED, f"{bench.source.address}/{NAMES[1]}")
    assert gone.reason is not None
    assert "is not there" in gone.reason
    assert {image.outcome for image in names.values()} == {Outcome.COPIED}
    assert sorted(names) == sorted({*NAMES, "team/app-25b"} - {NAMES[1], NAMES[20]})
    _report, images, _asked = bench.run()
    assert {image.source for image in images if image.outcome is Outcome.COPIED} == {
        f"{bench.source.address}/team/app-00b:v1"
    }


@pytest.mark.extended
def test_names_that_move_to_the_next_page_are_taken_once(bench: Bench) -> None:
    # Where pages are counted, whatever is added in front of the place comes again on the next page.
    bench.push(NAMES)
    bench.source.behaviour = Behaviour(max_page_size=PAGE, page_marker=PageMarker.NUMBER)
    bench.storage.before_list["repositories", 4] = lambda: bench.push(["team/app-00b", "team/app-00c"])
    report, images, _asked = bench.run()
    assert report.exit_code == 0
    assert sorted(image.source for image in images) == sorted(f"{bench.source.address}/{name}:v1" for name in NAMES)


@pytest.mark.extended
def test_tags_that_come_and_go_while_they_are_listed(bench: Bench) -> None:
    bench.push(["team/app"], TAGS)

    def change() -> None:
        bench.storage.delete_tag("team/app", "v25")
        bench.push(["team/app"], ["v00b", "v26b"])

    bench.storage.before_list["tags", 5] = change
    report, images, asked = bench.run()
    assert report.exit_code == 0
    wanted = sorted({*TAGS, "v26b"} - {"v25"})
    assert sorted(image.source.rpartition(":")[2] for image in images) == wanted
    assert asked.count("list tags") == 10


@pytest.mark.parametrize("least", [0, 1])
def test_a_repository_that_has_to_have_tags_fails_where_it_is_gone(bench: Bench, least: int) -> None:
    bench.push(NAMES[: PAGE + 1])
    bench.storage.before_list["repositories", 2] = lambda: bench.storage.drop(NAMES[0])
    report, images, _asked = bench.run(min_tags=least)
    assert report.exit_code == least
    [gone] = [image for image in images if image.outcome is not Outcome.COPIED]
    assert gone.outcome is (Outcome.FAILED if least else Outcome.SKIPPED)


def test_a_proxy_does_not_say_that_a_repository_is_gone(bench: Bench) -> None:
    bench.push(NAMES[:2])
    fault = Fault("list tags", status=404, body="<html>404</html>", content_type="text/html", match=NAMES[0])
    bench.source.behaviour = Behaviour(faults=(fault,))
    report, images, _asked = bench.run()
    assert report.exit_code == 1
    assert sorted(image.outcome for image in images) == [Outcome.COPIED, Outcome.FAILED]
