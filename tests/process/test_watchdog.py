"""What no time-out sees: a job, an image, a list of tags and a whole run that wait for what never comes."""

from __future__ import annotations

import time

import pytest

from image_syncer.embedded import ContentBuilder
from process.conftest import MIB, Pair

BOUND_S = 3.0
"""What may be quiet for so long in these tests."""
GRACE_S = 1.0
END_S = 60.0
"""In which all of it is over, on a machine that is full."""
SETTINGS = {"workers": 1, "retries": 0, "watchdog_s": BOUND_S}
SABOTAGE = f"""
import asyncio, sys
worker = "image_syncer.worker.process" in " ".join(sys.orig_argv)
def never(owner, name, condition, *, stubborn=False):
    before = getattr(owner, name)
    async def call(self, *args, **more):
        while condition(self, *args):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if not stubborn:
                    raise
        return await before(self, *args, **more)
    setattr(owner, name, call)
if not worker:
    from image_syncer.coordinator import rules, run
    from image_syncer.dispatch import watchdog
    watchdog.GRACE_S = {GRACE_S}
    rules.END_S = run.END_S = {GRACE_S}
    from image_syncer.discovery.discovery import Discovery
    from image_syncer.discovery.listings import Listings
    from image_syncer.discovery.publisher import Publisher
else:
    from image_syncer.worker.streamed_copy import StreamedCopy
    from image_syncer.worker.upload import Upload
"""


def outcomes(pair: Pair, report: dict[str, object]) -> dict[str, dict[str, object]]:
    images = report["images"]
    assert isinstance(images, list)
    assert len(images) == len(pair.images)
    return {image["destination"].partition("/")[2]: image for image in images}


@pytest.mark.parametrize(
    ("place", "stage"),
    [
        (
            "never(Discovery, 'get_root', lambda self, reference, head: 'guilty' in str(reference))",
            "asks the source for",
        ),
        ("never(Publisher, 'publish', lambda self, tree, to: 'guilty' in str(to))", "puts the manifests"),
    ],
    ids=["manifest", "publish"],
)
def test_an_image_that_waits_for_ever_fails_alone_and_says_at_what(pair: Pair, place: str, stage: str) -> None:
    pair.add("team/guilty", "v1", ContentBuilder(5).image())
    pair.add_images(3, layer_bytes=1000)
    began = time.monotonic()
    with pair.run(settings=SETTINGS, sabotage=f"{SABOTAGE}if not worker:\n    {place}\n") as run:
        assert run.wait() == 1, run.err
        assert time.monotonic() - began < END_S
        [told] = run.events("no sign of progress")
    images = outcomes(pair, run.report)
    failed = images.pop("team/guilty:v1")
    assert failed["outcome"] == "failed"
    assert stage in str(failed["reason"])
    assert "no sign of progress for" in str(failed["reason"])
    assert "team/guilty" in told["what"]
    assert stage in told["stage"]
    assert {image["outcome"] for image in images.values()} == {"copied"}
    assert run.orphans == []


@pytest.mark.extended
def test_a_list_of_tags_that_never_comes_fails_its_rule(pair: Pair) -> None:
    pair.add_images(2, layer_bytes=1000)
    hang = """
    before = Listings.tags
    async def tags(self, repository):
        if "app0" in str(repository):
            await asyncio.get_running_loop().create_future()
        async for page in before(self, repository):
            yield page
    Listings.tags = tags
"""
    with pair.run(settings=SETTINGS, all_tags=True, sabotage=f"{SABOTAGE}if not worker:{hang}") as run:
        assert run.wait() == 1, run.err
    images = {image["source"].partition("/")[2]: image for image in run.report["images"]}
    assert images["team/app0"]["outcome"] == "failed"
    assert "lists tags: no sign of progress" in images["team/app0"]["reason"]
    assert images["team/app1:v1"]["outcome"] == "copied"


@pytest.mark.extended
def test_a_job_that_never_ends_is_given_up_by_its_worker(pair: Pair) -> None:
    # The worker says that it lives, and answers when it is asked to give the job up.
    builder = ContentBuilder(6)
    blob = builder.layer(2 * MIB)
    pair.add("team/guilty", "v1", builder.image([blob]))
    pair.add_images(2, layer_bytes=2 * MIB)
    place = f"never(Upload, 'open', lambda self, *_: str(self._digest) == '{blob.digest}')"
    with pair.run(settings=SETTINGS, sabotage=f"{SABOTAGE}if worker:\n    {place}\n") as run:
        assert run.wait() == 1, run.err
        assert run.events("worker lost") == []
        [told] = run.events("no sign of progress")
    assert str(blob.digest) in told["what"]
    images = outcomes(pair, run.report)
    failed = images.pop("team/guilty:v1")
    assert (failed["outcome"], failed["error"]["digest"]) == ("failed", str(blob.digest))  # type: ignore[index]
    assert "moves it: no sign of progress" in str(failed["reason"])
    assert {image["outcome"] for image in images.values()} == {"copied"}


@pytest.mark.extended
def test_a_worker_that_does_not_give_the_job_up_is_killed(pair: Pair) -> None:
    builder = ContentBuilder(7)
    blob = builder.layer(2 * MIB)
    pair.add("team/guilty", "v1", builder.image([blob]))
    place = f"never(StreamedCopy, 'run', lambda self: str(self._digest) == '{blob.digest}', stubborn=True)"
    with pair.run(settings=SETTINGS, sabotage=f"{SABOTAGE}if worker:\n    {place}\n") as run:
        assert run.wait() == 1, run.err
        lost = run.events("worker lost")
    assert len(lost) == 3
    assert {event["why"].partition(" moves it")[0].rpartition(" ")[0] for event in lost} == {"was killed: worker"}
    [image] = run.report["images"]
    assert (image["outcome"], image["error"]["kind"]) == ("failed", "worker")
    assert "3 workers were lost while they held this blob" in image["reason"]
    assert run.orphans == []


@pytest.mark.extended
def test_what_cannot_be_given_up_ends_the_run_with_every_image_accounted_for(pair: Pair) -> None:
    pair.add("team/guilty", "v1", ContentBuilder(8).image())
    pair.add_images(3, layer_bytes=1000)
    place = "never(Discovery, 'get_root', lambda self, reference, head: 'guilty' in str(reference), stubborn=True)"
    with pair.run(settings=SETTINGS, sabotage=f"{SABOTAGE}if not worker:\n    {place}\n") as run:
        assert run.wait() == 1, run.err
    report = run.report
    assert (report["interrupted"], report["exit_code"]) == ("stuck", 1)
    images = outcomes(pair, report)
    left = images.pop("team/guilty:v1")
    assert left["outcome"] == "not tried"
    assert "the run was given up: image " in str(left["reason"])
    assert "asks the source for the manifest: no sign of progress" in str(left["reason"])
    assert {image["outcome"] for image in images.values()} == {"copied"}
    assert run.orphans == []
