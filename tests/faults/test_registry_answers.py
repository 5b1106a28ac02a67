"""Registries that are too busy, broken, or answer with something else: waited for, asked again, or told in a line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import TagSelection
from image_syncer.config.tag_filters import VersionSelection
from image_syncer.embedded import Behaviour, DigestHeader, Fault, LinkForm, RateLimit, RetryAfter
from image_syncer.embedded.content import build_manifest
from image_syncer.errors import (
    IntegrityError,
    NotFoundError,
    Origin,
    ProtocolViolation,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from image_syncer.oci import OCI_INDEX, OCI_MANIFEST
from image_syncer.registry import GENERIC
from image_syncer.telemetry import Outcome
from support.sync_runs import REPOSITORY, TAG, TRUSTING

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import SyncLab

FOREVER = None
BAD_GATEWAY = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<h1>502 Bad Gateway</h1>\n</body></html>"
READS = ("head manifest", "get manifest", "get blob")
WRITES = ("head manifest", "start upload", "put upload", "put manifest")


# Limits


def test_limits_of_both_sides_are_waited_for_in_every_form(lab: SyncLab) -> None:
    image = lab.content.image(2)
    rules = []
    for form in RetryAfter:
        reading = RateLimit(("get manifest",), times=1, retry_after=form)
        writing = RateLimit(("start upload",), times=1, retry_after=form)
        source = lab.add_registry(Behaviour(rate_limits=(reading,)))
        target = lab.add_registry(Behaviour(rate_limits=(writing,)))
        lab.push(image, to=source)
        rules.append((source, target, lab.rule(origin=source, to=[(target, REPOSITORY)])))
    done = lab.run(*(rule for _, _, rule in rules), retries=1)
    assert done.report.seconds >= 2
    for source, target, _ in rules:
        assert done.at(source).statuses["get manifest 429"] == 1
        assert done.at(target).statuses["start upload 429"] == 1
        lab.assert_arrived(image, at=target)


@pytest.mark.extended
def test_a_limit_that_never_ends_is_told(lab: SyncLab) -> None:
    lab.image(1)
    page = "<html><title>Too many</title>" + "x" * 5000
    lab.source.behaviour = Behaviour(rate_limits=(RateLimit(("get manifest",), retry_after_s=1, body=page),))
    error = lab.run(exit_code=1, retries=1, longest_wait_s=2.0).error
    assert isinstance(error, RateLimitedError)
    assert (error.origin, error.tries, error.status) == (Origin.SOURCE, 2, 429)


def test_a_limit_that_asks_for_hours_is_not_waited_for(lab: SyncLab) -> None:
    lab.image(1)
    lab.source.behaviour = Behaviour(rate_limits=(RateLimit(("get manifest",), retry_after_s=7200),))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, RateLimitedError)
    assert done.report.seconds < 60


# Failures of servers and proxies


@pytest.mark.parametrize("status", [500, 502, 503])
def test_every_request_survives_a_page_of_a_proxy(lab: SyncLab, status: int) -> None:
    image = lab.push(lab.content.index())

    def once(kind: str) -> Fault:
        return Fault(kind, status=status, body=BAD_GATEWAY, content_type="text/html")

    lab.source.behaviour = Behaviour(faults=tuple(once(kind) for kind in READS))
    lab.destination.behaviour = replace(TRUSTING, faults=tuple(once(kind) for kind in WRITES))
    lab.run(retries=3)  # three of the faults may strike one blob
    lab.assert_arrived(image)


@pytest.mark.parametrize(
    ("side", "kind"), [*(("source", kind) for kind in READS), *(("destination", kind) for kind in WRITES)]
)
def test_a_proxy_that_stays_broken_is_told_in_a_line(lab: SyncLab, side: str, kind: str) -> None:
    lab.image(1)
    other = lab.image(1, "team/other")
    broken = Fault(kind, status=502, body=BAD_GATEWAY, content_type="text/html", times=FOREVER, match=f"/{REPOSITORY}/")
    registry = lab.source if side == "source" else lab.destination
    registry.behaviour = replace(registry.behaviour, faults=(broken,))
    done = lab.run(exit_code=1, retries=1)
    assert isinstance(done.error, UnavailableError)
    assert (done.error.origin.value, done.error.status, done.error.tries) == (side, 502, 2)
    assert "<" not in str(done.error)
    assert "Bad Gateway" in str(done.error)
    lab.assert_arrived(other, "team/other")


def test_an_unavailable_registry_that_says_when_is_waited_for(lab: SyncLab) -> None:
    image = lab.image(1)
    busy = Fault("put manifest", status=503, headers=(("Retry-After", "1"),))
    lab.destination.behaviour = replace(TRUSTING, faults=(busy,))
    done = lab.run(retries=1)
    assert done.report.seconds >= 1
    lab.assert_arrived(image)


# Discovery


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_source_that_refuses_head_is_asked_with_get(lab: SyncLab, status: int) -> None:
    image = lab.image(2)
    lab.source.behaviour = Behaviour(faults=(Fault("head manifest", status=status, times=FOREVER),))
    done = lab.run()
    assert done.at(lab.source).count("head manifest") <= 2
    assert done.at(lab.source).count("get manifest") == 1
    lab.assert_arrived(image)
    assert lab.run().outcomes == ["unchanged"]


@pytest.mark.extended
def test_registries_that_tell_no_digest_are_asked_for_the_bytes(lab: SyncLab) -> None:
    image = lab.push(lab.content.index())
    silent = Behaviour(digest_header_on_get=DigestHeader.MISSING, digest_header_on_put=DigestHeader.MISSING)
    lab.source.behaviour = silent
    lab.destination.behaviour = replace(silent, check_references=False)
    done = lab.run()
    assert done.at(lab.source).requests == {"head manifest": 1, "get manifest": 4, "get blob": len(image.all_blobs())}
    lab.assert_arrived(image)
    again = lab.run()
    assert again.outcomes == ["unchanged"]
    assert again.at(lab.source).requests == {"head manifest": 1, "get manifest": 1}
    assert again.at(lab.destination).requests == {"head manifest": 1, "get manifest": 1}


@pytest.mark.parametrize(("repository", "tag"), [("team/none", TAG), (REPOSITORY, "none")])
def test_what_is_not_there_is_told_and_leaves_the_others_alone(lab: SyncLab, repository: str, tag: str) -> None:
    image = lab.image(1)
    done = lab.run(lab.rule(repository, [tag]), lab.rule(), exit_code=1)
    assert done.outcomes == ["copied", "failed"]
    assert isinstance(done.error, NotFoundError)
    assert (done.error.origin, done.error.reference) == (Origin.SOURCE, tag)
    assert done.error.repository == f"{lab.source.address}/{repository}"
    assert done.error.hint is not None
    assert done.error.tries == 1
    lab.assert_arrived(image)


def test_a_child_that_is_missing_is_told(lab: SyncLab) -> None:
    index = lab.push(lab.content.index())
    gone = index.children[1].digest
    lab.source.storage.delete_manifest(REPOSITORY, gone)
    error = lab.run(exit_code=1).error
    assert isinstance(error, NotFoundError)
    assert (error.origin, error.reference) == (Origin.SOURCE, gone)
    assert lab.destination.storage.repositories() == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>Welcome</html>", ProtocolViolation),
        ("{}", ProtocolViolation),
        ("[" * 100_000, ProtocolViolation),
        ('{"schemaVersion": 2, "config": 5, "layers": [{}]}', ProtocolViolation),
        ('{"schemaVersion": 2, "manifests": []}', IntegrityError),
    ],
)
def test_a_manifest_that_is_none(lab: SyncLab, body: str, kind: type[Exception]) -> None:
    lab.image(1)
    other = lab.image(1, "team/other")
    fault = Fault("get manifest", status=200, body=body, times=FOREVER, match=f"/{REPOSITORY}/")
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, kind)
    assert done.error.origin is Origin.SOURCE
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_a_child_of_another_size_than_the_index_says(lab: SyncLab) -> None:
    image = lab.content.image(1)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": image.digest, "size": len(image.raw) + 1}],
    }
    lab.push(build_manifest(value, children=(image,)))
    error = lab.run(exit_code=1).error
    assert isinstance(error, IntegrityError)
    assert (error.origin, error.reference) == (Origin.SOURCE, image.digest)


def nested(lab: SyncLab, depth: int) -> MadeManifest:
    """An image under so many indexes."""
    manifest = lab.content.image(1)
    for _ in range(depth):
        manifest = lab.content.index([manifest])
    return manifest


@pytest.mark.extended
def test_indexes_that_are_nested_too_deep(lab: SyncLab) -> None:
    fine = lab.push(nested(lab, 8), "team/fine")
    lab.push(nested(lab, 12))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert done.error.origin is Origin.SOURCE
    assert "deep" in done.error.message
    lab.assert_arrived(fine, "team/fine")


@pytest.mark.extended
@pytest.mark.parametrize("size_bytes", [5 * 2**20, 20 * 2**20])
def test_a_manifest_that_is_too_large(lab: SyncLab, size_bytes: int) -> None:
    image = lab.image(1)
    padded = json.dumps({**json.loads(image.raw), "annotations": {"padding": "x" * size_bytes}})
    lab.source.behaviour = Behaviour(faults=(Fault("get manifest", status=200, body=padded, times=FOREVER),))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert done.error.origin is Origin.SOURCE
    assert "bytes" in done.error.message
    assert done.error.tries == 1


@pytest.mark.extended
def test_an_index_of_too_many_manifests(lab: SyncLab) -> None:
    entries = [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 100} for number in range(6000)]
    lab.push(build_manifest({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert done.at(lab.source).count("get manifest") < 4096 + 2


# Lists of tags


def test_a_repository_without_tags_is_skipped(lab: SyncLab) -> None:
    lab.source.storage.create_repository(REPOSITORY)
    for null in (False, True):
        lab.source.behaviour = Behaviour(null_tag_list=null)
        done = lab.run(lab.rule(tags=()))
        assert done.outcomes == ["skipped"]
        assert done.image.reason == "the repository has no tags"


@pytest.mark.extended
def test_a_list_whose_next_page_is_on_another_host(lab: SyncLab) -> None:
    lab.push(lab.content.image(), tags=["v1", "v2", "v3"])
    lab.source.behaviour = Behaviour(max_page_size=2, link_form=LinkForm.OTHER_HOST)
    done = lab.run(lab.rule(tags=()), exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert done.error.origin is Origin.SOURCE
    assert "another host" in done.error.message
    assert done.at(lab.source).requests == {"list tags": 1}


@pytest.mark.extended
def test_a_list_without_end(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.discovery.listings.MAX_NAMES", 3)
    image = lab.content.image(1)
    lab.push(image, tags=[f"v{number}" for number in range(4)])
    done = lab.run(lab.rule(tags=()), exit_code=1)
    assert "more than 3 tags" in done.error.message


@pytest.mark.extended
def test_a_list_that_goes_round_in_circles(lab: SyncLab) -> None:
    lab.image(1)
    link = (("Link", f'</v2/{REPOSITORY}/tags/list?last=v1&n=1000>; rel="next"'),)
    circle = Fault("list tags", status=200, body='{"tags": ["v1"]}', headers=link, times=FOREVER)
    lab.source.behaviour = Behaviour(faults=(circle,))
    done = lab.run(lab.rule(tags=()), exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert "circles" in done.error.message
    assert done.at(lab.source).count("list tags") <= 3


def test_images_of_a_page_are_copied_though_the_next_page_fails(lab: SyncLab) -> None:
    lab.enter(lab.source, profile=replace(GENERIC, page_size=2))
    image = lab.content.image(1)
    lab.push(image, tags=["v1", "v2", "v3"])
    lab.source.behaviour = Behaviour(faults=(Fault("list tags", skip=1, status=403, times=FOREVER),))
    done = lab.run(lab.rule(tags=()), exit_code=1)
    assert done.report.totals.outcomes == {Outcome.COPIED: 2, Outcome.FAILED: 1}
    assert done.failure.source == f"{lab.source.address}/{REPOSITORY}"
    for tag in ("v1", "v2"):
        lab.assert_arrived(image, tag=tag)


@pytest.mark.extended
@pytest.mark.parametrize("body", ["<html>Welcome</html>", '{"tags": "v1"}', "[]"])
def test_a_list_that_is_none(lab: SyncLab, body: str) -> None:
    other = lab.image(1, "team/other")
    fault = Fault("list tags", status=200, body=body, times=FOREVER)
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run(lab.rule(tags=()), lab.rule("team/other"), exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    lab.assert_arrived(other, "team/other")


# Destinations that say no


@pytest.mark.extended
@pytest.mark.parametrize("status", [507, 500])
def test_a_full_destination_is_told_at_once(lab: SyncLab, status: int) -> None:
    fits = lab.image(1, "team/fits", layer_bytes=1000)
    lab.run()
    lab.image(1, layer_bytes=1_000_000)
    capacity = lab.destination.storage.used_bytes + 100_000
    lab.destination.behaviour = replace(TRUSTING, capacity_bytes=capacity, full_status=status)
    done = lab.run(exit_code=1)
    assert done.outcomes == ["failed", "unchanged"]
    assert isinstance(done.error, UnavailableError)
    assert (done.error.origin, done.error.status, done.error.tries) == (Origin.DESTINATION, status, 1)
    assert done.error.hint is not None
    assert "full" in done.error.hint
    lab.assert_arrived(fits, "team/fits")


IMMUTABLE = '{"errors": [{"code": "TAG_INVALID", "message": "The tag v1 is immutable and cannot be overwritten"}]}'


@pytest.mark.parametrize("status", [412, 400])
def test_an_immutable_tag_is_told_and_left_alone(lab: SyncLab, status: int) -> None:
    old = lab.push(lab.content.image(), to=lab.destination)
    lab.image(2)
    lab.destination.behaviour = replace(TRUSTING, immutable_tags=True)
    if status != 412:
        refusal = Fault("put manifest", status=status, body=IMMUTABLE, times=FOREVER)
        lab.destination.behaviour = replace(TRUSTING, faults=(refusal,))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, RefusedError)
    assert (done.error.origin, done.error.status, done.error.reference) == (Origin.DESTINATION, status, TAG)
    assert done.error.tries == 1
    assert done.error.hint is not None
    assert "another tag" in done.error.hint
    assert lab.destination.storage.tag(REPOSITORY, TAG) == old.digest


@pytest.mark.extended
def test_a_destination_that_stores_under_another_digest(lab: SyncLab) -> None:
    lab.image(1)
    lab.destination.behaviour = replace(TRUSTING, digest_header_on_put=DigestHeader.WRONG)
    error = lab.run(exit_code=1).error
    assert isinstance(error, IntegrityError)
    assert error.origin is Origin.DESTINATION
    assert error.actual is not None


@pytest.mark.extended
def test_a_destination_that_does_not_create_repositories(lab: SyncLab) -> None:
    lab.image(1)
    lab.destination.behaviour = replace(TRUSTING, implicit_repositories=False)
    error = lab.run(exit_code=1).error
    assert isinstance(error, NotFoundError)
    assert error.origin is Origin.DESTINATION
    assert error.hint is not None
    assert "create" in error.hint


@pytest.mark.extended
def test_a_destination_that_takes_no_body_of_that_size(lab: SyncLab) -> None:
    lab.image(1, layer_bytes=100_000)
    small = lab.image(1, "team/small", layer_bytes=1000)
    lab.destination.behaviour = replace(TRUSTING, max_content_length=50_000)
    done = lab.run(exit_code=1)
    assert isinstance(done.error, RefusedError)
    assert (done.error.origin, done.error.status) == (Origin.DESTINATION, 413)
    lab.assert_arrived(small, "team/small")


def test_one_destination_that_fails_leaves_the_other_whole(lab: SyncLab) -> None:
    broken = lab.add_registry(replace(TRUSTING, faults=(Fault("put upload", status=403, times=FOREVER),)))
    image = lab.image(3, layer_bytes=500_000)
    done = lab.run(lab.rule(to=[(broken, "a/one"), (lab.destination, "b/two")]), exit_code=1)
    assert done.outcomes == ["copied", "failed"]
    assert done.error.origin is Origin.DESTINATION
    assert done.error.repository == f"{broken.address}/a/one"
    lab.assert_arrived(image, "b/two")
    assert done.at(lab.source).count("get blob") == 4
    assert broken.storage.tag("a/one", TAG) is None


@pytest.mark.extended
@pytest.mark.parametrize("kind", WRITES)
def test_a_destination_that_breaks_at_any_request_leaves_the_other_whole(lab: SyncLab, kind: str) -> None:
    broken = lab.add_registry(replace(TRUSTING, faults=(Fault(kind, status=500, times=FOREVER),)))
    image = lab.image(2, layer_bytes=100_000)
    done = lab.run(lab.rule(to=[(broken, "a/one"), (lab.destination, "b/two")]), exit_code=1, retries=0)
    assert done.outcomes == ["copied", "failed"]
    assert done.error.repository == f"{broken.address}/a/one"
    assert done.at(lab.source).count("get blob") == 3
    lab.assert_arrived(image, "b/two")


@pytest.mark.extended
def test_a_source_that_fails_fails_every_destination(lab: SyncLab) -> None:
    other = lab.add_registry()
    image = lab.image(1)
    fault = Fault("get blob", status=403, times=FOREVER, match=image.blobs[1].digest)
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run(lab.rule(to=[(lab.destination, "a/one"), (other, "b/two")]), exit_code=1)
    assert done.outcomes == ["failed", "failed"]
    assert all(image.error is not None and image.error["side"] == "source" for image in done.images)


@pytest.mark.extended
def test_the_newest_versions_of_a_list_in_pages(lab: SyncLab) -> None:
    lab.source.behaviour = Behaviour(max_page_size=3)
    for tag in ("1.9.0", "1.10.0", "1.10.0-rc1", "2.0", "1.2.0", "latest", "1.11.0", "1.8.0"):
        lab.push(lab.content.image(1), tags=(tag,))
    selection = TagSelection(versions=VersionSelection("1.x", newest=2))
    done = lab.run(lab.rule(tags=selection))
    assert sorted(image.source.rpartition(":")[2] for image in done.images) == ["1.10.0", "1.11.0"]
    assert done.at(lab.source).count("list tags") == 3
    none = lab.run(lab.rule(tags=TagSelection(versions=VersionSelection(">=3", newest=2))))
    assert [(image.outcome, image.reason) for image in none.images] == [
        (Outcome.SKIPPED, "no tag of the repository matches the rule")
    ]
