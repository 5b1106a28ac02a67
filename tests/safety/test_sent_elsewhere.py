"""Whole runs with registries that send us to the metadata service of a cloud: by every way in which they could."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, TokenService
from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry import RedirectPolicy
from support.sync_runs import TRUSTING

if TYPE_CHECKING:
    from support.sync_runs import SyncLab

METADATA = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
FOREVER = None


def sent_to(operation: str, status: int, location: str = METADATA) -> Fault:
    return Fault(operation, status=status, body="", times=FOREVER, headers=(("Location", location),))


def assert_refused(error: object, origin: Origin) -> None:
    assert isinstance(error, ProtocolViolation)
    assert error.origin is origin
    assert "169.254.169.254, which is the metadata service of a cloud" in error.message
    assert "was not sent" in error.message
    assert "allow_local_redirects" in str(error.hint)
    assert error.tries == 1


@pytest.mark.parametrize("operation", ["head manifest", "get manifest", "get blob"])
@pytest.mark.parametrize("small_bytes", [0, 2**20], ids=["streamed", "whole"])
def test_a_source_that_redirects_there(lab: SyncLab, operation: str, small_bytes: int) -> None:
    lab.image(1)
    lab.source.behaviour = Behaviour(faults=(sent_to(operation, 307),))
    done = lab.run(exit_code=1, small_bytes=small_bytes)
    assert_refused(done.error, Origin.SOURCE)


@pytest.mark.parametrize("layer_bytes", [1000, 3 * 2**20], ids=["whole", "streamed"])
@pytest.mark.parametrize(("operation", "status"), [("start upload", 202), ("start upload", 307), ("put upload", 307)])
def test_a_destination_whose_uploads_go_there(lab: SyncLab, operation: str, status: int, layer_bytes: int) -> None:
    lab.image(1, layer_bytes=layer_bytes)
    lab.destination.behaviour = replace(TRUSTING, faults=(sent_to(operation, status),))
    done = lab.run(exit_code=1, retries=0)
    if operation == "put upload":  # a stream is never sent to a second place, whichever it is
        assert done.error.origin is Origin.DESTINATION
    else:
        assert_refused(done.error, Origin.DESTINATION)


@pytest.mark.parametrize("operation", ["put manifest", "head manifest"])
def test_a_destination_whose_manifests_go_there(lab: SyncLab, operation: str) -> None:
    lab.image(1)
    lab.destination.behaviour = replace(TRUSTING, faults=(sent_to(operation, 307),))
    assert_refused(lab.run(exit_code=1).error, Origin.DESTINATION)


def test_a_token_service_there(lab: SyncLab) -> None:
    lab.image(1)
    challenge = f'Bearer realm="{METADATA}",service="s"'
    fault = Fault("head manifest", status=401, times=FOREVER, headers=(("WWW-Authenticate", challenge),))
    lab.source.behaviour = Behaviour(faults=(fault,), bearer=TokenService())
    done = lab.run(exit_code=1)
    assert_refused(done.error, Origin.SOURCE)


def test_reading_a_destination_deep_does_not_go_there(lab: SyncLab) -> None:
    lab.image(1)
    lab.run()
    lab.destination.behaviour = Behaviour(faults=(sent_to("get blob", 307),))
    done = lab.verify(deep=True, exit_code=1)
    assert "169.254.169.254, which is the metadata service" in str(done.document)


def test_it_is_followed_where_the_user_allows_it(lab: SyncLab) -> None:
    """What answers there depends on the machine; that it is asked is all that can be said."""
    lab.image(1)
    nowhere = "http://169.254.255.254:1/blob"
    lab.source.behaviour = Behaviour(faults=(sent_to("get blob", 307, nowhere),))
    lab.enter(lab.source, redirects=RedirectPolicy(local=True))
    done = lab.run(exit_code=1, retries=0, connect_timeout_s=0.5)
    assert not isinstance(done.error, ProtocolViolation)
