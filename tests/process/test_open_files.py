"""Few open files: a run raises its limit as far as it may, says so where that is not far, and never hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder

if TYPE_CHECKING:
    from process.conftest import Pair


def limited(soft: int, hard: int) -> tuple[str, ...]:
    """A launcher under these limits of open files."""
    return ("sh", "-c", f'ulimit -S -n {soft} && ulimit -H -n {hard} && exec "$@"', "sh")


@pytest.mark.extended
def test_a_soft_limit_is_raised_without_a_word(pair: Pair) -> None:
    pair.add_images(2)
    with pair.run("--workers", "2", launcher=limited(64, 4096)) as run:
        assert run.wait() == 0, run.err
    assert run.report["warnings"] == []
    assert run.err == ""
    pair.assert_copied()


@pytest.mark.extended
def test_sixty_four_files_are_told_and_enough(pair: Pair) -> None:
    # More images and blobs than there are files, at registries that are slow to answer: what has no file waits for one.
    builder = ContentBuilder(1)
    for number in range(40):
        pair.add("team/app", f"v{number}", builder.image(2, layer_bytes=1024))
    pair.source.behaviour = pair.destination.behaviour = Behaviour(latency_s=0.1)
    settings = {"workers": 2, "retries": 0, "connect_timeout_s": 1.0}
    with pair.run(settings=settings, launcher=limited(64, 64)) as run:
        assert run.wait() == 0, run.err
    pair.source.behaviour = pair.destination.behaviour = Behaviour()
    report = run.report
    assert report["totals"]["outcomes"]["copied"] == 40
    assert report["settings"]["streams"] == 5
    [warning] = report["warnings"]
    assert warning.startswith("a process may open 64 files here, which is room for 5 streams in a worker: ")
    assert "ulimit -Hn" in warning
    pair.assert_copied()


@pytest.mark.parametrize("files", [38, 24, 16])
def test_too_few_are_an_error_that_says_how_many_are_needed(pair: Pair, files: int) -> None:
    pair.add_images(2)
    with pair.run("--workers", "2", launcher=limited(files, files)) as run:
        assert run.wait() == 2, run.err
    assert run.err == (
        f"Error: this process [open files]: {files} files may be open at once, which is too few"
        " → raise it (ulimit -Hn) to 39 or more\n"
    )
    assert run.orphans == []


@pytest.mark.extended
def test_as_many_as_it_says_are_enough(pair: Pair) -> None:
    pair.add_images(12, layers=4, layer_bytes=1024)
    with pair.run("--workers", "2", "--retries", "0", launcher=limited(39, 39)) as run:
        assert run.wait() == 0, run.err
    pair.assert_copied()
