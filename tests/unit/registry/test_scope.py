from __future__ import annotations

from image_syncer.oci import Repository
from image_syncer.registry import pull_scope, push_scope
from image_syncer.registry.message import CATALOG_SCOPE

NGINX = Repository("docker.io", "library/nginx")


def test_scopes_are_written_as_token_services_read_them() -> None:
    assert str(pull_scope(NGINX)) == "repository:library/nginx:pull"
    assert str(push_scope(NGINX)) == "repository:library/nginx:push,pull"
    assert str(CATALOG_SCOPE) == "registry:catalog:*"
