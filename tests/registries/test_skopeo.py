"""skopeo against the doubles: who gets along with the registries of the world has to get along with their doubles."""

from __future__ import annotations

import pytest

from image_syncer.embedded import DOUBLES, ContentBuilder, push_to, serve_in_thread
from registries.stage import LARGE, OWN_APP, TAG, assert_served
from support.doubles import serve_double
from support.skopeo import Skopeo

pytestmark = pytest.mark.real

SELDOM = frozenset(DOUBLES) - {"ecr", "acr-azure", "gar"}
KINDS = [pytest.param(kind, marks=pytest.mark.slow) if kind in SELDOM else kind for kind in DOUBLES]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str) -> None:
    index = ContentBuilder().index(shared_layers=[ContentBuilder(1).layer(LARGE)])
    skopeo = Skopeo(credential=DOUBLES[kind].credential)
    with serve_double(kind) as (registry, _), serve_in_thread() as plain:
        push_to(plain.storage, OWN_APP, index, [TAG])
        registry.storage.create_repository(OWN_APP)
        there = f"{registry.address}/{OWN_APP}:{TAG}"
        if kind == "gar":  # skopeo sends every blob by PATCH: https://github.com/containers/skopeo/issues/1101
            with pytest.raises(AssertionError, match="uploading layer chunked"):
                skopeo.copy(f"{plain.address}/{OWN_APP}:{TAG}", there)
            push_to(registry.storage, OWN_APP, index, [TAG])
        else:
            skopeo.copy(f"{plain.address}/{OWN_APP}:{TAG}", there)
        back = "back/app"
        skopeo.copy(there, f"{plain.address}/{back}:{TAG}")
        assert_served(plain, {back: index})
        assert_served(registry, {OWN_APP: index}, kind)
