"""Mistakes of ours inside a worker: an outcome in the report, an error in the log, and no traceback for the user."""

from __future__ import annotations

import pytest

from image_syncer.embedded import ContentBuilder
from process.conftest import MIB, Pair

IN_WORKER = """
import sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    from image_syncer.transfer import stream
    from image_syncer.worker import streamed_copy
    def sabotaged(owner, name):
        before = getattr(owner, name)
        def call(self, *args):
            if str(getattr(self, "_digest", None) or self.digest) == "{digest}":
                raise LookupError("a drawer is empty")
            return before(self, *args)
        setattr(owner, name, call)
"""

PLACES = {
    "in a task": "sabotaged(streamed_copy.StreamedCopy, 'run')",
    "in a callback of libcurl": "sabotaged(stream.Stream, 'receive')",
    "in a callback of the loop": "sabotaged(streamed_copy.StreamedCopy, 'settle')",
    "in the pulse": "sabotaged(streamed_copy.StreamedCopy, 'tick')",
}
SUSPECTED = 3
"""How many workers have to die with a blob before it is given up."""
MOST_DEATHS = {"in the pulse": SUSPECTED + 5}
"""Where a blob has come further than ever before it is not suspected: so the first time, and whenever the pulse is late
on a busy machine.
"""
PULSE_S = 1.5
"""A blob that is under way for so long sees at least one tick."""


@pytest.mark.parametrize("place", PLACES)
def test_a_mistake_in_a_worker_fails_its_image_alone_and_quietly(pair: Pair, place: str) -> None:
    builder = ContentBuilder(99)
    blob = builder.layer(2 * MIB)
    guilty = pair.add("team/guilty", "v1", builder.image([blob]))
    pair.add_images(3)
    pair.slow_down(blob.size / PULSE_S)
    sabotage = f"{IN_WORKER.format(digest=blob.digest)}    {PLACES[place]}\n"
    with pair.run("--workers", "2", sabotage=sabotage) as run:
        assert run.wait() == 1, run.err
        crashes = run.events("worker crashed")
    deaths = len(crashes) // 2
    assert [event["level"] for event in crashes] == ["error", "debug"] * deaths
    assert SUSPECTED <= deaths <= MOST_DEATHS.get(place, SUSPECTED)
    assert crashes[0]["reason"] == "LookupError: a drawer is empty"
    assert "Traceback" in crashes[1]["traceback"]
    outcomes = {image["destination"].partition("/")[2]: image for image in run.report["images"]}
    failed = outcomes.pop("team/guilty:v1")
    assert failed["outcome"] == "failed"
    assert failed["error"]["kind"] == "worker"
    assert failed["reason"].endswith("ended with exit code 70: LookupError: a drawer is empty")
    assert {image["outcome"] for image in outcomes.values()} == {"copied"}
    pair.assert_copied([image for image in pair.images if image is not guilty])
    assert "Traceback" not in run.err + run.out
    assert run.orphans == []


def test_a_worker_without_memory_for_its_last_words_ends_all_the_same(pair: Pair) -> None:
    # It is not found out by its silence, which takes longer than the run may take here.
    builder = ContentBuilder(98)
    blob = builder.layer(2 * MIB)
    pair.add("team/guilty", "v1", builder.image([blob]))
    sabotage = f"""{IN_WORKER.format(digest=blob.digest)}
    from image_syncer.worker import process
    def format_exception(*args):
        raise MemoryError
    process.traceback.format_exception = format_exception
    {PLACES["in a task"]}
"""
    with pair.run("--workers", "1", "--small-blobs", "0", sabotage=sabotage) as run:
        assert run.wait(SUSPECTED * PULSE_S + 8.0) == 1, run.err
        assert len(run.events("worker lost")) == SUSPECTED
    [image] = run.report["images"]
    assert image["reason"].endswith("ended with exit code 70")
    assert run.orphans == []


def test_what_a_worker_prints_goes_to_the_log(pair: Pair) -> None:
    pair.add_images(2)
    sabotage = """
import os, sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    os.write(1, b"a library says hello\\n")
    os.write(2, b"\\xff a library complains\\n" * 10_000)
"""
    with pair.run("--workers", "1", sabotage=sabotage) as run:
        assert run.wait() == 0, run.err
        text = "".join(event["text"] for event in run.events("worker output"))
    assert text.startswith("a library says hello\n")
    assert text.count("a library complains\n") == 10_000
    assert "a library" not in run.err + run.out
    pair.assert_copied()
