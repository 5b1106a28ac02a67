"""Addresses that registries hand out: redirects of blobs, Locations of uploads. What is theirs never goes elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, LocationForm, TokenService
from image_syncer.errors import Origin, ProtocolViolation
from support.sync_runs import PASSWORD, REPOSITORY, TRUSTING, USER

if TYPE_CHECKING:
    from support.sync_runs import SyncLab

FOREVER = None
GUARDED = {
    "open": Behaviour(check_references=False),
    "basic": Behaviour(check_references=False, users={USER: PASSWORD}),
    "bearer": Behaviour(check_references=False, users={USER: PASSWORD}, bearer=TokenService()),
}


@pytest.mark.parametrize("guard", GUARDED)
def test_blobs_on_another_host_are_fetched_without_credentials(lab: SyncLab, guard: str) -> None:
    image = lab.image(2, layer_bytes=1_000_000)
    lab.source.behaviour = replace(GUARDED[guard], redirect_blobs=True)
    lab.log_in(lab.source)
    done = lab.run()
    assert done.at(lab.source).authorization_on_companion == 0
    assert done.at(lab.source).count("get blob") == done.at(lab.source).count("get redirected blob") == 3
    lab.assert_arrived(image)


@pytest.mark.extended
def test_every_kind_of_redirect(lab: SyncLab) -> None:
    image = lab.content.image(1)
    rules = []
    for status in (301, 302, 303, 307, 308):
        source = lab.add_registry(Behaviour(redirect_blobs=True, redirect_status=status))
        target = lab.add_registry()
        lab.push(image, to=source)
        rules.append((target, lab.rule(origin=source, to=[(target, REPOSITORY)])))
    lab.run(*(rule for _, rule in rules))
    for target, _ in rules:
        lab.assert_arrived(image, at=target)


@pytest.mark.extended
def test_a_signed_address_that_has_expired_is_asked_for_again(lab: SyncLab) -> None:
    image = lab.image(2)
    lab.source.behaviour = Behaviour(
        redirect_blobs=True, redirect_uses=1, faults=(Fault("get redirected blob", status=403),)
    )
    done = lab.run()
    assert done.at(lab.source).count("get blob") == 4
    lab.assert_arrived(image)


@pytest.mark.parametrize("query", ["same", "circle"])
def test_redirects_that_lead_nowhere(lab: SyncLab, query: str) -> None:
    image, other = lab.image(0), lab.image(1, "team/other")
    [config] = image.blobs
    here = f"/v2/{REPOSITORY}/blobs/{config.digest}"

    def hop(match: str, location: str) -> Fault:
        return Fault("get blob", status=307, times=FOREVER, match=match, headers=(("Location", location),))

    loop = [hop(here, here)]
    if query == "circle":
        loop = [hop(f"{here}?a", f"{here}?b"), hop(f"{here}?b", f"{here}?a"), hop(here, f"{here}?a")]
    lab.source.behaviour = Behaviour(faults=tuple(loop))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert (done.error.origin, done.error.digest) == (Origin.SOURCE, config.digest)
    assert "redirect" in done.error.message
    assert done.at(lab.source).count("get blob") <= 2 + 7
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "http://user:secret-of-user@127.0.0.1/x", "http://"])
def test_redirects_to_what_is_no_address(lab: SyncLab, location: str) -> None:
    image = lab.image(1)
    headers = (("Location", location),) if location else ()
    fault = Fault("get blob", status=307, times=FOREVER, match=image.blobs[1].digest, headers=headers)
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert (done.error.origin, done.error.digest) == (Origin.SOURCE, image.blobs[1].digest)
    assert "secret-of-user" not in done.log


@pytest.mark.extended
@pytest.mark.parametrize("operation", ["head manifest", "get manifest"])
def test_manifests_are_fetched_elsewhere_without_credentials(lab: SyncLab, operation: str) -> None:
    image = lab.image(1)
    mirror = lab.add_registry()
    lab.push(image, to=mirror)
    lab.source.behaviour = GUARDED["bearer"]
    lab.log_in(lab.source)
    targets = [image.digest] if operation == "get manifest" else ["v1"]
    hops = tuple(
        Fault(
            operation,
            status=307,
            times=FOREVER,
            match=target,
            headers=(("Location", f"{mirror.url}/v2/{REPOSITORY}/manifests/{target}"),),
        )
        for target in targets
    )
    lab.source.behaviour = replace(GUARDED["bearer"], faults=hops)
    mirror.behaviour = Behaviour()
    done = lab.run(lab.rule())
    assert done.at(mirror).count(operation) == 1
    lab.assert_arrived(image)


@pytest.mark.parametrize("guard", ["open", "bearer"])
@pytest.mark.parametrize("form", list(LocationForm))
def test_every_form_of_location(lab: SyncLab, form: LocationForm, guard: str) -> None:
    image = lab.image(2, layer_bytes=300_000)
    opaque = "a=%2F%2B+b&&c=&d=%e4;e=1"
    lab.destination.behaviour = replace(GUARDED[guard], location_form=form, location_query=opaque)
    lab.log_in(lab.destination)
    done = lab.run()
    destination = done.at(lab.destination)
    assert destination.count("start upload") == destination.count("put upload") == 3
    assert destination.authorization_on_companion == 0
    lab.assert_arrived(image)


def test_a_session_on_another_host_that_is_given_up_is_cancelled_without_credentials(lab: SyncLab) -> None:
    image = lab.image(1)
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", status=403, match=image.blobs[1].digest),))
    lab.destination.behaviour = replace(GUARDED["bearer"], location_form=LocationForm.COMPANION)
    lab.log_in(lab.destination)
    done = lab.run(exit_code=1)
    assert done.at(lab.destination).authorization_on_companion == 0


@pytest.mark.extended
@pytest.mark.parametrize(
    "location", [None, "", "gopher://127.0.0.1/x", "http://user:secret-of-user@127.0.0.1/x", "https://"]
)
def test_a_session_without_a_usable_location(lab: SyncLab, location: str | None) -> None:
    image = lab.image(1)
    headers = () if location is None else (("Location", location),)
    fault = Fault("start upload", status=202, body="", times=FOREVER, headers=headers)
    lab.destination.behaviour = replace(TRUSTING, faults=(fault,))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, ProtocolViolation)
    assert done.error.origin is Origin.DESTINATION
    assert done.error.digest in {blob.digest for blob in image.blobs}
    assert "secret-of-user" not in done.log
    assert done.at(lab.source).count("get blob") == 0


@pytest.mark.extended
def test_a_session_that_another_host_opens_is_used_there_without_credentials(lab: SyncLab) -> None:
    elsewhere = lab.add_registry(Behaviour(location_form=LocationForm.RELATIVE))
    image = lab.image(1)
    there = (("Location", f"{elsewhere.url}/v2/{REPOSITORY}/blobs/uploads/"),)
    away = Fault("start upload", status=307, headers=there, times=FOREVER)
    lab.destination.behaviour = replace(GUARDED["bearer"], faults=(away,))
    lab.log_in(lab.destination)
    # Both stand for one registry with two hosts: what is uploaded to the second is in the first.
    elsewhere.storage = elsewhere._service.storage = lab.destination.storage
    done = lab.run()
    assert done.at(elsewhere).count("put upload") == 2
    assert done.at(lab.destination).count("put upload") == 0
    lab.assert_arrived(image)


@pytest.mark.extended
@pytest.mark.parametrize("status", [200, 201, 204])
def test_every_status_of_a_committed_blob(lab: SyncLab, status: int) -> None:
    image = lab.image(1)
    lab.destination.behaviour = replace(TRUSTING, put_status=status)
    lab.run()
    lab.assert_arrived(image)


# Mounts


@pytest.mark.parametrize(
    ("status", "guard"),
    [
        *((status, "open") for status in (202, 400, 401, 403, 404, 405)),
        (401, "basic"),
        (401, "bearer"),
        (403, "bearer"),
    ],
)
def test_mounts_that_are_refused(lab: SyncLab, status: int, guard: str) -> None:
    image = lab.content.image(1)
    for repository in ("team/one", "team/two"):
        lab.push(image, repository)
    lab.destination.behaviour = replace(GUARDED[guard], mount_status=status)
    lab.log_in(lab.destination)
    done = lab.run()
    for repository in ("team/one", "team/two"):
        lab.assert_arrived(image, repository)
    assert done.at(lab.destination).count("put upload") == 4


@pytest.mark.extended
def test_a_registry_that_knows_no_mounts(lab: SyncLab) -> None:
    image = lab.content.image(1)
    for repository in ("team/one", "team/two"):
        lab.push(image, repository)
    lab.destination.behaviour = replace(TRUSTING, mounts=False)
    done = lab.run()
    assert done.at(lab.destination).count("start upload") == done.at(lab.destination).count("put upload") == 4
    for repository in ("team/one", "team/two"):
        lab.assert_arrived(image, repository)


@pytest.mark.extended
def test_a_user_who_may_not_read_the_repository_to_mount_from(lab: SyncLab) -> None:
    image = lab.content.image(1)
    for repository in ("team/one", "team/two"):
        lab.push(image, repository)
    lab.destination.behaviour = replace(GUARDED["bearer"], bearer=TokenService(first_scope_only=True))
    lab.log_in(lab.destination)
    done = lab.run()
    for repository in ("team/one", "team/two"):
        lab.assert_arrived(image, repository)
    assert done.outcomes == ["copied", "copied"]
