from __future__ import annotations

from image_syncer.oci import parse_repository
from image_syncer.registry import Endpoint, build_get_manifest, say_whose


def test_a_mirror_is_told_whose_content_is_wanted() -> None:
    request = build_get_manifest(
        Endpoint("mirror.example", "https://mirror.example"), parse_repository("mirror.example/library/nginx"), "latest"
    )
    asked = say_whose(request, "quay.example:5000")
    assert asked.url == f"{request.url}?ns=quay.example:5000"
    assert asked._replace(url=request.url) == request
    assert say_whose(asked, "b").url.endswith("?ns=quay.example:5000&ns=b")
    assert asked.line == request.line
