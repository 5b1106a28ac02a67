"""Mirrors of a source registry, which may be anything: whole, partial, behind, down, slow or lying. What arrives is
what the registry itself says.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import RegistryEntry
from image_syncer.embedded import Behaviour, ContentBuilder, Fault, FaultKind, push_to
from image_syncer.registry import Credential
from support.raw_server import found, serve_image, serve_raw
from support.sync_runs import PASSWORD, REPOSITORY, TAG, USER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.embedded import CounterValues, EmbeddedRegistry, MadeManifest
    from support.sync_runs import Done, SyncLab

FOREVER = None
LARGE = 4 * 2**20
ASKED = ("head manifest", "get manifest", "get blob")


def mirror_of(lab: SyncLab, behaviour: Behaviour | None = None, *, path: str = "") -> EmbeddedRegistry:
    """A registry that is entered as the mirror of the source, under `path`."""
    mirror = lab.add_registry(behaviour)
    lab.enter(lab.source, mirrors=(f"{mirror.address}{path}",))
    return mirror


def asked(values: CounterValues) -> tuple[int, ...]:
    return tuple(values.count(kind) for kind in ASKED)


def told(done: Done, mirror: EmbeddedRegistry) -> tuple[int, int]:
    """What the report says of a mirror: bytes and failures."""
    data = done.document["mirrors"][mirror.address]
    return data["bytes"], data["failures"]


def size_of(image: MadeManifest) -> int:
    return len(image.raw) + sum(blob.size for blob in image.blobs)


@pytest.mark.parametrize(("path", "small_bytes"), [("", 0), ("/proxy-cache", 2**20)])
def test_what_a_mirror_has_comes_from_there_and_the_registry_says_what_the_tag_means(
    lab: SyncLab, path: str, small_bytes: int
) -> None:
    image = lab.image(2, layer_bytes=LARGE // 8)
    mirror = mirror_of(lab, path=path)
    push_to(mirror.storage, f"{path}/{REPOSITORY}".strip("/"), image, ())
    done = lab.run(small_bytes=small_bytes)
    lab.assert_arrived(image)
    assert asked(done.at(lab.source)) == (1, 0, 0)
    assert asked(done.at(mirror)) == (0, 1, 3)
    assert told(done, mirror) == (size_of(image), 0)


@pytest.mark.extended
def test_an_index_and_all_below_it_come_from_the_mirror(lab: SyncLab) -> None:
    index = lab.push(lab.content.index())
    mirror = mirror_of(lab)
    push_to(mirror.storage, REPOSITORY, index, ())
    done = lab.run()
    lab.assert_arrived(index)
    assert asked(done.at(lab.source)) == (1, 0, 0)


@pytest.mark.extended
def test_a_mirror_is_told_which_registry_is_meant(lab: SyncLab) -> None:
    image = lab.image(2)
    blobs = {str(blob.digest): blob.read() for blob in image.blobs}
    serve = serve_image(image, TAG, lambda digest: [found(blobs[digest])])
    queries: list[str] = []

    def answer(method: str, path: str) -> Iterable[bytes] | None:
        path, _, query = path.partition("?")
        queries.append(query)
        return serve(method, path)

    with serve_raw(answer) as mirror:
        lab.enter(lab.source, mirrors=(mirror.address,))
        lab._entries[mirror.address] = RegistryEntry(mirror.address, insecure=True)
        done = lab.run()
    lab.assert_arrived(image)
    assert queries.count(f"ns={lab.source.address}") == 4
    assert asked(done.at(lab.source)) == (1, 0, 0)


@pytest.mark.extended
def test_a_mirror_that_is_behind_gives_no_old_image(lab: SyncLab) -> None:
    image = lab.image(2)
    mirror = mirror_of(lab)
    push_to(mirror.storage, REPOSITORY, ContentBuilder(seed=99).image(2), (TAG,))
    done = lab.run()
    lab.assert_arrived(image)
    assert asked(done.at(mirror)) == (0, 1, 3)
    assert asked(done.at(lab.source)) == (1, 1, 3)
    assert told(done, mirror) == (0, 4)


@pytest.mark.extended
def test_a_mirror_that_has_only_some_gives_these(lab: SyncLab) -> None:
    image = lab.image(2)
    mirror = mirror_of(lab)
    push_to(mirror.storage, REPOSITORY, image, ())
    mirror.behaviour = Behaviour(
        faults=(Fault("get blob", status=404, match=str(image.blobs[0].digest), times=FOREVER),)
    )
    done = lab.run()
    lab.assert_arrived(image)
    assert asked(done.at(lab.source)) == (1, 0, 1)
    assert told(done, mirror)[1] == 1


@pytest.mark.extended
def test_the_next_mirror_is_asked_before_the_registry(lab: SyncLab) -> None:
    image = lab.image(2)
    first, second = lab.add_registry(), lab.add_registry()
    lab.enter(lab.source, mirrors=(first.address, second.address))
    push_to(second.storage, REPOSITORY, image, ())
    done = lab.run()
    lab.assert_arrived(image)
    assert (asked(done.at(first)), asked(done.at(second)), asked(done.at(lab.source))) == (
        (0, 1, 3),
        (0, 1, 3),
        (1, 0, 0),
    )


@pytest.mark.parametrize(
    "status", [429, 500, *(pytest.param(code, marks=pytest.mark.slow) for code in (401, 403, 503))]
)
def test_a_mirror_that_fails_is_left_alone_and_costs_no_try(lab: SyncLab, status: int) -> None:
    for number in range(4):
        lab.image(2, f"team/app{number}")
    mirror = mirror_of(lab, Behaviour(faults=(Fault("*", status=status, times=FOREVER),)))
    done = lab.run(retries=0)
    assert done.outcomes == ["copied"] * 4
    assert done.document["resumes"] == {"source": 0, "destination": 0, "while idle": 0}
    assert done.at(mirror).total_requests <= 30
    assert told(done, mirror)[1] >= 1


def test_a_mirror_that_is_not_there_is_done_without(lab: SyncLab) -> None:
    image = lab.image(2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    lab.enter(lab.source, mirrors=(nobody,))
    began = time.monotonic()
    done = lab.run(retries=0)
    assert time.monotonic() - began < 60
    lab.assert_arrived(image)
    assert done.document["mirrors"] == {nobody: {"bytes": 0, "failures": 1}}


@pytest.mark.extended
@pytest.mark.parametrize(
    "kind", [FaultKind.RESET, FaultKind.STALL, pytest.param(FaultKind.SHORT_BODY, marks=pytest.mark.slow)]
)
def test_a_blob_that_breaks_off_at_the_mirror_goes_on_at_the_registry(lab: SyncLab, kind: FaultKind) -> None:
    image = lab.image(1, layer_bytes=LARGE)
    mirror = mirror_of(lab)
    push_to(mirror.storage, REPOSITORY, image, ())
    broken = Fault("get blob", kind, match=str(image.blobs[1].digest), after_bytes=LARGE // 2)
    mirror.behaviour = Behaviour(faults=(broken,))
    done = lab.run(retries=0, stall_timeout_s=1.0)
    lab.assert_arrived(image)
    assert done.at(lab.source).statuses["get blob 206"] == 1
    assert done.at(lab.source).bytes_out <= LARGE
    assert told(done, mirror)[1] == 1


@pytest.mark.parametrize("small_bytes", [0, 2**20])
def test_wrong_bytes_of_a_mirror_never_arrive_and_it_is_asked_no_more(lab: SyncLab, small_bytes: int) -> None:
    image = lab.image(2, layer_bytes=LARGE // 8)
    mirror = mirror_of(lab)
    push_to(mirror.storage, REPOSITORY, image, ())
    mirror.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.WRONG_BYTES, times=FOREVER, after_bytes=5),))
    done = lab.run(small_bytes=small_bytes, retries=1)
    lab.assert_arrived(image)
    assert done.image.tries == 2
    assert asked(done.at(lab.source))[2] == 3


@pytest.mark.extended
def test_a_wrong_manifest_of_a_mirror_is_read_from_the_registry(lab: SyncLab) -> None:
    image = lab.image(2)
    mirror = mirror_of(lab)
    push_to(mirror.storage, REPOSITORY, image, ())
    mirror.behaviour = Behaviour(faults=(Fault("get manifest", FaultKind.WRONG_BYTES, times=FOREVER),))
    done = lab.run(retries=0)
    lab.assert_arrived(image)
    assert asked(done.at(lab.source)) == (1, 1, 3)
    assert asked(done.at(mirror)) == (0, 1, 0)


@pytest.mark.extended
def test_a_mirror_has_a_login_of_its_own_and_gets_no_other(lab: SyncLab) -> None:
    image = lab.image(2)
    mirror = mirror_of(lab, Behaviour(users={"reader": "mirror-password"}))
    push_to(mirror.storage, REPOSITORY, image, ())
    lab.source.behaviour = Behaviour(users={USER: PASSWORD})
    lab.enter(lab.source, Credential(USER, PASSWORD), mirrors=(mirror.address,))
    lab.enter(mirror, Credential("reader", "mirror-password"))
    done = lab.run()
    lab.assert_arrived(image)
    assert asked(done.at(lab.source))[1:] == (0, 0)
    lab.enter(mirror)  # and without it: what the mirror refuses, the registry gives
    other = lab.push(lab.content.image(2), "team/other")
    push_to(mirror.storage, "team/other", other, ())
    done = lab.run(lab.rule("team/other"), retries=0)
    lab.assert_arrived(other, "team/other")
    assert told(done, mirror)[1] >= 1


@pytest.mark.extended
def test_nothing_is_written_to_a_mirror_of_the_destination(lab: SyncLab) -> None:
    image = lab.image(2)
    mirror = lab.add_registry()
    lab.enter(lab.destination, mirrors=(mirror.address,))
    done = lab.run()
    lab.assert_arrived(image)
    assert done.at(mirror).total_requests == 0
    assert done.document["mirrors"] == {}
