from __future__ import annotations

import pytest

from image_syncer.config import Settings
from image_syncer.errors import ConfigurationError
from image_syncer.scheduling import Machine, Resources, decide_resources
from image_syncer.scheduling.resources import FILES_PER_CONNECTION, FILES_PER_STREAM, FILES_PER_WORKER, SPARE_FILES


def decide(open_files: int, workers: int = 2) -> Resources:
    return decide_resources(Settings(workers=workers), Machine(cpus=8, open_files=open_files))


def test_with_room_nothing_is_given_up() -> None:
    roomy, unbounded = decide(1024), decide(2**20)
    assert roomy == unbounded
    assert (roomy.streams, roomy.connections) == (16, 256)
    assert roomy.open_files == roomy.files_wanted < 1024


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("open_files", [64, 100, 128, 256, 800])
def test_no_process_opens_more_than_it_may(open_files: int, workers: int) -> None:
    resources = decide(open_files, workers)
    assert resources.open_files == open_files <= resources.files_wanted
    assert resources.streams >= 1
    assert resources.connections >= 1
    assert SPARE_FILES + resources.streams * FILES_PER_STREAM <= open_files
    in_use = resources.workers * FILES_PER_WORKER + resources.connections * FILES_PER_CONNECTION
    assert SPARE_FILES + in_use <= open_files


@pytest.mark.parametrize("workers", [1, 2, 20])
def test_where_one_stream_has_no_room_it_says_what_is_needed(workers: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        decide(SPARE_FILES, workers)
    [problem] = caught.value.problems
    assert problem.what == "32 files may be open at once, which is too few"
    assert problem.mend is not None
    least = int(problem.mend.removeprefix("raise it (ulimit -Hn) to ").removesuffix(" or more"))
    enough = decide(least, workers)
    assert min(enough.streams, enough.connections) == 1
    with pytest.raises(ConfigurationError):
        decide(least - 1, workers)
