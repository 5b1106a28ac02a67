"""What is meant by HOST[/REPO]."""

from __future__ import annotations

import pytest

from image_syncer.doctor.examination import parse_subject
from image_syncer.errors import ConfigurationError

HUB = "docker.io"
DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example.com", ("registry.example.com", None, None)),
        ("Registry.Example.com:443", ("registry.example.com:443", None, None)),
        ("localhost", ("localhost", None, None)),
        ("localhost:5000", ("localhost:5000", None, None)),
        ("registry:5000", ("registry:5000", None, None)),
        ("registry/", ("registry", None, None)),
        ("10.0.0.1", ("10.0.0.1", None, None)),
        ("[::1]:5000", ("[::1]:5000", None, None)),
        ("docker.io", (HUB, None, None)),
        ("index.docker.io", (HUB, None, None)),
        ("nginx", (HUB, "library/nginx", None)),
        ("nginx:1.27", (HUB, "library/nginx", "1.27")),
        ("alpine:3", (HUB, "library/alpine", "3")),
        ("team/app", (HUB, "team/app", None)),
        ("localhost:5000/app:5000", ("localhost:5000", "app", "5000")),
        (f"quay.io/a/b@{DIGEST}", ("quay.io", "a/b", DIGEST)),
    ],
)
def test_a_host_a_repository_or_an_image(text: str, parts: tuple[str, str | None, str | None]) -> None:
    assert parse_subject(text) == parts


@pytest.mark.parametrize(
    "text", ["", "https://registry.example", "UPPER/case", "registry.example/", "a b", "me:pw@x.y/z"]
)
def test_what_names_nothing(text: str) -> None:
    if text == "registry.example/":
        with pytest.raises(ConfigurationError, match="--write needs a repository"):
            parse_subject(text, write=True)
        return
    with pytest.raises(ConfigurationError) as raised:
        parse_subject(text)
    assert raised.value.exit_code == 2
    assert "pw" not in str(raised.value)
