"""Blobs that ECR has, found out a hundred at a time: no upload is begun for them."""

from __future__ import annotations

import pytest

from image_syncer.config.registry_book import CloudSettings
from image_syncer.embedded import push_to
from image_syncer.embedded.doubles import DOUBLES, PASSWORD
from image_syncer.registry import PROFILES, Credential

BATCHES = "ask for many blobs"


@pytest.fixture
def ecr(lab, machine):
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    machine.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    registry = lab.add_registry(DOUBLES["ecr"].behaviour)
    enter(lab, registry)
    registry.storage.create_repository("mirror/app")
    return registry


def enter(lab, registry, **fields):
    cloud = CloudSettings("aws", region="us-east-1", endpoint=registry.url)
    lab.enter(registry, profile=PROFILES["ecr"], cloud=cloud, **fields)


def requests(done, kind):
    return done.document["totals"]["requests"].get(kind, 0)


@pytest.mark.extended
def test_a_new_tag_over_blobs_that_are_there_begins_no_upload(lab, ecr):
    image = lab.image(layers=120)
    rule = lab.rule(to=[(ecr, "mirror/app")])
    first = lab.run(rule)
    assert (requests(first, BATCHES), first.image.blobs_moved) == (2, 121)
    assert requests(first, "start upload") >= 121
    assert requests(first, "head blob") <= 5  # only what is tried again, since starts of uploads are limited
    ecr.storage.delete_tag("mirror/app", "v1")
    again = lab.run(rule)
    assert again.outcomes == ["copied"]
    assert (requests(again, BATCHES), requests(again, "start upload")) == (2, 0)
    assert again.image.blobs_present == 121
    lab.assert_arrived(image, "mirror/app", at=ecr)


def test_a_part_of_the_blobs_is_there(lab, ecr):
    image = lab.content.image(4)
    lab.push(image)
    for blob in image.all_blobs()[:2]:
        ecr.storage.put_blob("mirror/app", [blob.read()], blob.digest)
    done = lab.run(lab.rule(to=[(ecr, "mirror/app")]))
    assert (requests(done, BATCHES), requests(done, "start upload"), requests(done, "head blob")) == (1, 3, 0)
    lab.assert_arrived(image, "mirror/app", at=ecr)


def test_an_image_that_is_there_costs_no_call(lab, ecr):
    image = lab.image()
    push_to(ecr.storage, "mirror/app", image, ("v1",))
    done = lab.run(lab.rule(to=[(ecr, "mirror/app")]))
    assert (done.outcomes, requests(done, BATCHES)) == (["unchanged"], 0)


def test_what_this_run_brought_is_not_asked_for_again(lab, ecr):
    image = lab.image(layers=3)
    lab.push(image, tags=("v2",))
    rules = [lab.rule(tags=(tag,), to=[(ecr, "mirror/app")]) for tag in ("v1", "v2")]
    done = lab.run(*rules)
    assert done.outcomes == ["copied", "copied"]
    assert requests(done, "start upload") == 4


def test_without_an_identity_the_copy_goes_its_usual_way(lab, ecr, machine):
    machine.delenv("AWS_ACCESS_KEY_ID")
    enter(lab, ecr, credential=Credential("AWS", PASSWORD))
    image = lab.image()
    done = lab.run(lab.rule(to=[(ecr, "mirror/app")]))
    assert requests(done, "start upload") == 3
    lab.assert_arrived(image, "mirror/app", at=ecr)


def test_other_registries_are_not_asked(lab):
    lab.image()
    assert requests(lab.run(), BATCHES) == 0
