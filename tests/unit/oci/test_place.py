"""Places that are no registry, as references name them."""

from __future__ import annotations

import pytest

from image_syncer.oci import (
    Digest,
    InvalidReference,
    Reference,
    Repository,
    is_place,
    parse_reference,
    repository_at,
    split_place,
)

DIGEST = Digest("sha256:" + "a" * 64)


@pytest.mark.parametrize(
    ("text", "registry", "name", "tag"),
    [
        ("oci:dir", "oci:dir", "", None),
        ("oci:./dir/", "oci:dir", "", None),
        ("oci:.", "oci:.", "", None),
        ("oci:/a//b/./c", "oci:/a/b/c", "", None),
        ("oci:../x", "oci:../x", "", None),
        ("oci:/data/Mirror One:1.0", "oci:/data/Mirror One", "", "1.0"),
        ("oci:dir:latest", "oci:dir", "", "latest"),
        ("oci:dir:library/nginx", "oci:dir", "library/nginx", None),
        ("oci:dir:library/nginx:1.27", "oci:dir", "library/nginx", "1.27"),
        ("oci:dir:nginx:1.27", "oci:dir", "nginx", "1.27"),
        ("oci:dir:nginx:", "oci:dir", "nginx", None),
        ("oci-archive:x.tar:docker.io/library/nginx:1", "oci-archive:x.tar", "docker.io/library/nginx", "1"),
        ("docker-archive:x.tar:localhost:5000/app:1", "docker-archive:x.tar", "localhost:5000/app", "1"),
        ("bundle:/x:app:1", "bundle:/x", "app", "1"),
    ],
)
def test_the_path_ends_at_the_first_colon(text: str, registry: str, name: str, tag: str | None) -> None:
    assert parse_reference(text) == Reference(Repository(registry, name), tag, None)


@pytest.mark.parametrize(
    "reference",
    [
        Reference(Repository("oci:/d", name), tag, digest)
        for name in ("", "nginx", "library/nginx", "localhost:5000/app")
        for tag in (None, "1.0")
        for digest in (None, DIGEST)
    ],
)
def test_what_is_written_is_read_again(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference


def test_it_is_written_as_skopeo_does() -> None:
    assert str(Reference(Repository("oci:/d", ""), "1.0", None)) == "oci:/d:1.0"
    assert str(Reference(Repository("oci:/d", "library/nginx"), "1.27", None)) == "oci:/d:library/nginx:1.27"
    assert str(Reference(Repository("oci:/d", ""), None, DIGEST)) == f"oci:/d@{DIGEST}"


@pytest.mark.parametrize(
    "text",
    ["oci:", "oci::1.0", "oci:d:UPPER/x:1", "oci:d:-1", "oci:d:a/b/", "oci:d@sha256:12", "oci:a\nb:1", "oci:d:a//b:1"],
)
def test_what_names_no_image_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


@pytest.mark.parametrize("text", ["nginx", "ocid:1", "quay.io/oci/x:1", "bundle:1.0", "docker.io/library/oci:1"])
def test_registries_are_no_places(text: str) -> None:
    assert not is_place(text)
    assert split_place(text) is None


def test_a_repository_at_a_place_has_a_name_of_one() -> None:
    assert repository_at("oci:/d", "a/b") == Repository("oci:/d", "a/b")
    assert repository_at("quay.io", "a/b") == Repository("quay.io", "a/b")
    with pytest.raises(InvalidReference):
        repository_at("oci:/d", "../b")
