"""Section "Determining Support", and "Error Codes"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.client import Client

CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}
NAMES = ["upper case", "two slashes", "dash", "dot", "too long"]
UNKNOWN = f"sha256:{'0' * 64}"


def test_the_api_is_there(client: Client) -> None:
    """end-1: `GET /v2/` answers 200 where the API is implemented and no credentials are wanted."""
    assert client.get("/v2/").status == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("manifests/latest", {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}),
        (f"manifests/{UNKNOWN}", {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}),
        (f"blobs/{UNKNOWN}", {"BLOB_UNKNOWN", "NAME_UNKNOWN"}),
        ("tags/list", {"NAME_UNKNOWN"}),
    ],
)
def test_what_is_not_there(client: Client, repository: str, path: str, code: set[str]) -> None:
    """404, and a body in JSON whose `errors` have a `code` of the table and perhaps `message` and `detail`."""
    answer = client.get(f"/v2/{repository}/{path}")
    assert answer.status == 404
    errors = answer.json()["errors"]
    assert errors
    for error in errors:
        assert error["code"] in CODES & code
        assert set(error) <= {"code", "message", "detail"}
        assert isinstance(error.get("message", ""), str)


@pytest.mark.parametrize("name", ["UPPER/case", "a//b", "-dash", "dot./x", "a/" + "b" * 300], ids=NAMES)
def test_a_name_that_is_none(client: Client, name: str) -> None:
    """`<name>` has to match the pattern of the section "Pulling manifests"; what does not is never taken."""
    answer = client.send("POST", f"/v2/{name}/blobs/uploads/")
    assert 400 <= answer.status < 500 or answer.status == 301
    if answer.status == 301:  # a path with two slashes is another path
        assert "//" in name


@pytest.mark.parametrize("tag", ["-x", ".x", "a" * 129, "a b".replace(" ", "%20"), "é".encode().hex() + "%C3%A9"])
def test_a_tag_that_is_none(client: Client, repository: str, tag: str) -> None:
    """A tag has at most 128 characters, begins with a word character, and goes on with those, dots and dashes."""
    body = b'{"schemaVersion":2}'
    headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
    assert 400 <= client.send("PUT", f"/v2/{repository}/manifests/{tag}", body, headers).status < 500
