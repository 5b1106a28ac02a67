from __future__ import annotations

import pytest

from image_syncer.oci import Repository
from image_syncer.registry import CATALOG_SCOPE, Scope, pull_scope, push_scope

NGINX = Repository("docker.io", "library/nginx")


def test_scopes_are_written_as_token_services_read_them() -> None:
    assert str(pull_scope(NGINX)) == "repository:library/nginx:pull"
    assert str(push_scope(NGINX)) == "repository:library/nginx:push,pull"
    assert str(CATALOG_SCOPE) == "registry:catalog:*"


@pytest.mark.parametrize(
    ("one", "other", "covered"),
    [
        (push_scope(NGINX), pull_scope(NGINX), True),
        (push_scope(NGINX), push_scope(NGINX), True),
        (pull_scope(NGINX), push_scope(NGINX), False),
        (push_scope(NGINX), Scope("library/redis", ("pull",)), False),
        (CATALOG_SCOPE, Scope("catalog", ("*",)), False),
    ],
)
def test_a_scope_covers_what_it_allows(one: Scope, other: Scope, covered: bool) -> None:
    assert one.covers(other) is covered
