"""The doctor before a double of each kind of registry: none is broken, and each is taken for what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import DOUBLES, ContentBuilder, push_to, serve_in_thread

if TYPE_CHECKING:
    from doctor.conftest import Doctor

REPOSITORY = "team/group/app"


def test_a_registry_is_recognised_by_its_answers(doctor: Doctor) -> None:
    with serve_in_thread(behaviour=DOUBLES["acr-azure"].behaviour) as registry:
        push_to(registry.storage, REPOSITORY, ContentBuilder(seed=6).image(), ["v1"])
        user, password = DOUBLES["acr-azure"].credential or ("", "")
        entry = {"insecure": True, "username": user, "password": password}
        seen = doctor.look(f"{registry.address}/{REPOSITORY}", entry)
    assert (seen.code, seen.failed()) == (0, [])
    assert seen["kind"]["what"] == "Azure Container Registry, by its header WWW-Authenticate"


@pytest.mark.parametrize("kind", DOUBLES)
def test_a_registry_of_this_kind_is_well(doctor: Doctor, kind: str) -> None:
    with serve_in_thread(behaviour=DOUBLES[kind].behaviour) as registry:
        push_to(registry.storage, REPOSITORY, ContentBuilder(seed=6).image(), ["v1"])
        user, password = DOUBLES[kind].credential or (None, None)
        known = {"username": user, "password": password} if user else {}
        entry = {"insecure": True, "profile": kind, **known}
        seen = doctor.look(f"{registry.address}/{REPOSITORY}", entry, "--write")
    assert (seen.code, seen.failed()) == (0, [])
    assert seen["upload of 1 MiB"]["state"] == seen["manifest PUT"]["state"] == "ok"
    assert (seen["kind"]["state"], seen["kind"]["facts"]["profile"]) == ("ok", kind)
