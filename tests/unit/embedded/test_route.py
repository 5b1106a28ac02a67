from __future__ import annotations

import pytest

from image_syncer.embedded.route import ExtraOperation, Route, is_repository_name, parse_route
from image_syncer.registry import Operation

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/v2/", Route(Operation.PING)),
        ("HEAD", "/v2/a/manifests/v1", Route(Operation.HEAD_MANIFEST, "a", "v1")),
        ("GET", f"/v2/a/b/c/manifests/{DIGEST}", Route(Operation.GET_MANIFEST, "a/b/c", DIGEST)),
        ("PUT", "/v2/a/manifests/v1", Route(Operation.PUT_MANIFEST, "a", "v1")),
        ("DELETE", "/v2/a/manifests/v1", Route(ExtraOperation.DELETE_MANIFEST, "a", "v1")),
        ("GET", f"/v2/a/blobs/{DIGEST}", Route(Operation.GET_BLOB, "a", DIGEST)),
        ("HEAD", f"/v2/a/blobs/{DIGEST}", Route(Operation.HEAD_BLOB, "a", DIGEST)),
        ("POST", "/v2/a/b/blobs/uploads/", Route(Operation.START_UPLOAD, "a/b")),
        ("POST", "/v2/a/b/blobs/uploads", Route(Operation.START_UPLOAD, "a/b")),
        ("PUT", "/v2/a/blobs/uploads/id", Route(Operation.PUT_UPLOAD, "a", "id")),
        ("PATCH", "/v2/a/blobs/uploads/id", Route(ExtraOperation.PATCH_UPLOAD, "a", "id")),
        ("GET", "/v2/a/blobs/uploads/id", Route(Operation.GET_UPLOAD, "a", "id")),
        ("DELETE", "/v2/a/blobs/uploads/id", Route(Operation.CANCEL_UPLOAD, "a", "id")),
        ("GET", "/v2/tags/list/tags/list", Route(Operation.LIST_TAGS, "tags/list")),
        ("GET", f"/v2/blobs/blobs/{DIGEST}", Route(Operation.GET_BLOB, "blobs", DIGEST)),
        ("GET", "/v2/manifests/manifests/manifests", Route(Operation.GET_MANIFEST, "manifests", "manifests")),
        ("GET", "/v2/_catalog", Route(Operation.LIST_CATALOG)),
        ("GET", f"/v2/a/referrers/{DIGEST}", Route(ExtraOperation.LIST_REFERRERS, "a", DIGEST)),
        ("POST", "/token", Route(Operation.GET_TOKEN)),
        ("GET", f"/storage/a/b/{DIGEST}", Route(ExtraOperation.GET_REDIRECTED_BLOB, "a/b", DIGEST)),
        ("GET", "/v2/a", Route(ExtraOperation.OTHER)),
        ("GET", "/", Route(ExtraOperation.OTHER)),
        ("TRACE", "/v2/", Route(ExtraOperation.OTHER)),
        ("GET", "/v2/a/manifests/", Route(ExtraOperation.OTHER)),
    ],
)
def test_what_a_path_asks_for(method: str, path: str, route: Route) -> None:
    assert parse_route(method, path) == route


@pytest.mark.parametrize("name", ["a", "library/nginx", "a.b_c__d---e/f", "0/1/2"])
def test_names(name: str) -> None:
    assert is_repository_name(name)


@pytest.mark.parametrize("name", ["", "A", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a" * 256, "a b", "é"])
def test_what_is_no_name(name: str) -> None:
    assert not is_repository_name(name)
