from __future__ import annotations

import dataclasses
import json

import pytest

from image_syncer.embedded import (
    Behaviour,
    DigestHeader,
    EmbeddedRegistry,
    Fault,
    FaultKind,
    LinkForm,
    LocationForm,
    MemoryStorage,
    RateLimit,
    RetryAfter,
    TokenService,
    behaviour_to_data,
    parse_behaviour,
)
from image_syncer.registry import Operation

FULL = Behaviour(
    users={"alice": "correct horse"},
    permissions={"alice": ("pull", "push")},
    anonymous=("pull",),
    bearer=TokenService(max_uses=3, field_names=("token", "access_token"), identity_tokens={"r": "alice"}),
    extra_challenges=("Negotiate",),
    faults=(
        Fault(Operation.GET_BLOB, FaultKind.RESET, times=None, skip=2, match="/a/", after_bytes=9),
        Fault("*", status=503, headers=(("Retry-After", "1"), ("X-Other", "2"))),
    ),
    rate_limits=(RateLimit(("get manifest",), burst=1, per_s=0.5, retry_after=RetryAfter.DATE),),
    location_form=LocationForm.COMPANION,
    link_form=LinkForm.OTHER_HOST,
    digest_header_on_get=DigestHeader.MISSING,
    capacity_bytes=100,
    mount_status=202,
)


@pytest.mark.parametrize("behaviour", [Behaviour(), FULL])
def test_a_behaviour_travels_as_json(behaviour: Behaviour) -> None:
    back = parse_behaviour(json.loads(json.dumps(behaviour_to_data(behaviour))))
    assert back == behaviour
    assert [type(getattr(back, item.name)) for item in dataclasses.fields(back)] == [
        type(getattr(behaviour, item.name)) for item in dataclasses.fields(behaviour)
    ]


def test_the_default_says_nothing() -> None:
    assert behaviour_to_data(Behaviour()) == {}


@pytest.mark.parametrize(
    "data",
    [
        {"unknown": 1},
        {"location_form": "sideways"},
        {"faults": [{"kind": "reset"}]},
        {"bearer": {"x": 1}},
        {"double": "x"},
    ],
)
def test_what_is_no_behaviour_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a behaviour|is not a valid"):
        parse_behaviour(data)


@pytest.mark.parametrize(
    ("behaviour", "needs"),
    [
        (Behaviour(), False),
        (Behaviour(bearer=TokenService()), False),
        (Behaviour(bearer=TokenService(on_companion=True)), True),
        (Behaviour(redirect_blobs=True), True),
        (Behaviour(location_form=LocationForm.COMPANION), True),
        (Behaviour(link_form=LinkForm.OTHER_HOST), True),
    ],
)
def test_what_needs_a_second_address(behaviour: Behaviour, *, needs: bool) -> None:
    assert behaviour.needs_companion is needs


def test_passwords_are_not_shown() -> None:
    assert "correct horse" not in repr(FULL)


def test_a_double_that_there_is_not_is_told_at_once() -> None:
    registry = EmbeddedRegistry(MemoryStorage())
    with pytest.raises(ValueError, match="there is no double 'x'"):
        registry.behaviour = Behaviour(double="x")
    with pytest.raises(ValueError, match="there is no double 'x'"):
        EmbeddedRegistry(MemoryStorage(), Behaviour(double="x"))
