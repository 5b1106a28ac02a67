"""Layers that a registry need not have, since the manifest names the URLs where everyone is to get them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer import load_report
from image_syncer.config import ForeignLayers
from image_syncer.embedded import Behaviour, Fault
from image_syncer.embedded.content import build_manifest
from image_syncer.errors import NotFoundError, Origin
from image_syncer.oci import DOCKER_FOREIGN_LAYER
from image_syncer.reporting.chosen_work import find_unfinished
from support.raw_server import serve_raw
from support.sync_runs import REPOSITORY, TAG, error_of

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import SyncLab

OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def image(
    lab: SyncLab,
    media_type: str = DOCKER_FOREIGN_LAYER,
    *,
    there: bool = True,
    url: str = "https://layers.example.com/windows",
) -> MadeManifest:
    """An image with a foreign layer, which the source has or has not."""
    plain = lab.content.image(1, platform="windows/amd64", docker=media_type == DOCKER_FOREIGN_LAYER)
    foreign = lab.content.layer(media_type=media_type)
    value = json.loads(plain.raw)
    value["layers"].insert(0, foreign.descriptor(urls=[url]))
    blobs = (*plain.blobs, foreign) if there else plain.blobs
    return lab.push(build_manifest(value, blobs, platform=plain.platform))


def foreign_digest(made: MadeManifest) -> str:
    return str(json.loads(made.raw)["layers"][0]["digest"])


@pytest.mark.parametrize("media_type", [DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER])
def test_they_are_left_where_they_are_even_if_the_source_has_them(lab: SyncLab, media_type: str) -> None:
    made = image(lab, media_type)
    done = lab.run()
    assert lab.destination.storage.tag(REPOSITORY, TAG) == made.digest
    assert lab.destination.storage.blob_size(REPOSITORY, made.blobs[-1].digest) is None
    assert done.at(lab.source).count("get blob") == done.at(lab.destination).count("start upload") == 2
    assert lab.verify(deep=True).outcomes == ["equal"]


@pytest.mark.parametrize("media_type", [DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER])
def test_they_are_copied_where_that_is_wanted(lab: SyncLab, media_type: str) -> None:
    made = image(lab, media_type)
    done = lab.run(foreign_layers=ForeignLayers.COPY)
    lab.assert_arrived(made)
    assert done.image.bytes_total == sum(blob.size for blob in made.blobs)
    assert lab.verify(foreign_layers=ForeignLayers.COPY, deep=True).outcomes == ["equal"]
    lab.destination.storage.delete_blob(REPOSITORY, made.blobs[-1].digest)
    assert lab.verify(foreign_layers=ForeignLayers.COPY, exit_code=1).outcomes == ["different"]
    assert lab.verify().outcomes == ["equal"]


@pytest.mark.extended
def test_those_that_were_left_follow_by_force(lab: SyncLab) -> None:
    made = image(lab)
    lab.run()
    assert lab.run(foreign_layers=ForeignLayers.COPY).outcomes == ["unchanged"]
    done = lab.run(foreign_layers=ForeignLayers.COPY, force=True)
    lab.assert_arrived(made)
    assert done.at(lab.source).count("get blob") == 1


@pytest.mark.extended
def test_what_is_copied_and_looked_at_is_looked_at_whole(lab: SyncLab) -> None:
    made = image(lab)
    done = lab.run(foreign_layers=ForeignLayers.COPY, verify=True)
    assert done.image.blobs_checked == len(made.blobs)


@pytest.mark.extended
def test_a_source_that_does_not_have_it(lab: SyncLab) -> None:
    made = image(lab, there=False)
    done = lab.run(foreign_layers=ForeignLayers.COPY, exit_code=1)
    assert isinstance(done.error, NotFoundError)
    assert (done.error.origin, done.error.digest) == (Origin.SOURCE, foreign_digest(made))
    assert "foreign layer" in str(done.error)
    assert "--foreign-layers leave" in str(done.error)
    assert lab.destination.storage.tag(REPOSITORY, TAG) is None
    assert find_unfinished(load_report(str(lab.report_path))).foreign_layers is ForeignLayers.COPY


@pytest.mark.extended
@pytest.mark.parametrize("status", [400, 500])
def test_a_destination_that_takes_no_urls(lab: SyncLab, status: int) -> None:
    image(lab)
    plain = lab.push(lab.content.image(1, docker=True), "team/plain")
    lab.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=status, times=None),))
    done = lab.run(retries=0, exit_code=1)
    hints = {found.destination: error_of(found).hint for found in done.images}
    assert "validation.manifests.urls.allow" in str(hints[f"{lab.destination.address}/{REPOSITORY}:{TAG}"])
    assert "urls" not in str(hints[f"{lab.destination.address}/team/plain:{TAG}"])
    assert lab.destination.storage.tag("team/plain", TAG) != plain.digest


@pytest.mark.extended
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("policy", list(ForeignLayers))
def test_the_urls_are_asked_by_nobody(lab: SyncLab, policy: ForeignLayers, *, there: bool) -> None:
    asked: list[str] = []
    with serve_raw(lambda _method, path: asked.append(path)) as elsewhere:
        image(lab, there=there, url=f"http://{elsewhere.address}/latest/meta-data")
        lab.run(foreign_layers=policy, exit_code=None, verify=True)
        arrived = lab.destination.storage.tag(REPOSITORY, TAG) is not None
        lab.verify(exit_code=int(not arrived))
    assert asked == []


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["image", "index"])
def test_they_are_refused_before_anything_moves(lab: SyncLab, kind: str) -> None:
    made = image(lab)
    if kind == "index":
        lab.push(lab.content.index([lab.content.image(1), made]))
    done = lab.run(lab.rule(), foreign_layers=ForeignLayers.REFUSE, exit_code=1)
    assert done.outcomes == ["failed"]
    assert "foreign layer" in str(done.error)
    assert "--foreign-layers copy" in str(done.error)
    assert done.at(lab.source).count("get blob") == 0
    assert lab.destination.storage.repositories() == []


@pytest.mark.extended
def test_images_without_them_pass(lab: SyncLab) -> None:
    made = lab.push(lab.content.index(docker=True))
    lab.run(foreign_layers=ForeignLayers.REFUSE)
    lab.assert_arrived(made)


@pytest.mark.extended
def test_a_dry_run_tells_the_same(lab: SyncLab) -> None:
    made = image(lab)
    wanted = sum(blob.size for blob in made.blobs)
    assert lab.run(dry_run=True, foreign_layers=ForeignLayers.COPY).image.bytes_total == wanted
    assert lab.run(dry_run=True).image.bytes_total == wanted - made.blobs[-1].size
    assert lab.run(dry_run=True, foreign_layers=ForeignLayers.REFUSE, exit_code=1).outcomes == ["failed"]
