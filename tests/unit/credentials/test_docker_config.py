"""Docker's config.json."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from image_syncer.credentials import CredentialError
from image_syncer.credentials.login_files import DockerConfig, parse_docker_config
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_repository
from image_syncer.registry import Credential


def config_of(**data):
    """The configuration with these top-level keys."""
    return parse_docker_config(json.dumps(data).encode(), "config.json")


def encoded(text):
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("key", "repository"),
    [
        ("https://index.docker.io/v1/", "nginx"),
        ("docker.io", "nginx"),
        ("registry-1.docker.io", "bitnami/redis"),
        ("quay.io", "quay.io/a/b"),
        ("https://quay.io", "quay.io/a/b"),
        ("https://quay.io/v2/", "quay.io/a/b"),
        ("http://localhost:5000", "localhost:5000/x"),
        ("quay.io/a", "quay.io/a/b"),
        ("QUAY.io", "quay.io/a"),
    ],
)
def test_forms_of_keys(key, repository):
    config = config_of(auths={key: {"auth": encoded("me:pass:word")}})
    [_, credential] = config.find_entry(parse_repository(repository))
    assert credential == Credential("me", "pass:word")
    assert config.find_entry(parse_repository("ghcr.io/a")) is None


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"username": "me", "password": "p"}, Credential("me", "p")),
        ({"auth": encoded("me:p\0\0")}, Credential("me", "p")),
        ({"auth": encoded("me:p").rstrip("=")}, Credential("me", "p")),
        ({"auth": "bWU6c\r\nA==\n"}, Credential("me", "p")),
        ({"auth": encoded("me:"), "identitytoken": "t"}, Credential("me", "", "t")),
        ({"identitytoken": "t"}, Credential("", "", "t")),
        ({"auth": encoded("mé:pä")}, Credential("mé", "pä")),
        ({}, None),
        ({"auth": ""}, None),
        ({"email": "a@b"}, None),
        ({"auth": 7}, None),
    ],
)
def test_forms_of_entries(entry, credential):
    found = config_of(auths={"quay.io": entry}).find_entry(parse_repository("quay.io/x"))
    assert found == (None if credential is None else ("quay.io", credential))


@pytest.mark.parametrize("auth", ["hunter2", "aHVudGVyMg==", "é", "/w=="])
def test_a_broken_entry_is_an_error_for_its_own_registry_only_and_tells_nothing(auth):
    config = config_of(auths={"quay.io": {"auth": auth}, "ghcr.io": {"username": "me", "password": "p"}})
    assert config.find_entry(parse_repository("ghcr.io/x")) == ("ghcr.io", Credential("me", "p"))
    with pytest.raises(CredentialError) as caught:
        config.find_entry(parse_repository("quay.io/x"))
    assert "image-syncer login quay.io" in caught.value.hint
    assert auth not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_helpers():
    config = config_of(credHelpers={"gcr.io": "gcloud", "https://index.docker.io/v1/": "desktop"}, credsStore="pass")
    assert config.find_helper(parse_repository("gcr.io/a/b")) == "gcloud"
    assert config.find_helper(parse_repository("nginx")) == "desktop"
    assert config.find_helper(parse_repository("quay.io/a")) is None
    assert config.store == "pass"


@pytest.mark.parametrize(
    "data", [{}, {"auths": None}, {"auths": [], "credHelpers": "x", "credsStore": ""}, {"auths": {"quay.io": "x"}}]
)
def test_what_is_not_there(data):
    config = config_of(**data)
    assert config == DockerConfig()


def test_an_empty_file_is_an_empty_configuration():
    assert parse_docker_config(b"", "config.json") == DockerConfig()


@pytest.mark.parametrize(
    ("raw", "line"), [(b'{\n"auths": hunter2}', 2), (b"[]", None), (b"\xe9x\xe9x", None), (b"[" * 100_000, None)]
)
def test_what_is_broken_is_told_with_the_line(raw, line):
    with pytest.raises(ConfigurationError) as caught:
        parse_docker_config(raw, "/root-of-user/.docker/config.json")
    [problem] = caught.value.problems
    assert (problem.file, problem.line) == ("/root-of-user/.docker/config.json", line)
    assert "DOCKER_CONFIG" in caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_no_secret_in_the_repr():
    assert "hunter2" not in repr(config_of(auths={"quay.io": {"username": "me", "password": "hunter2"}}))


@pytest.mark.parametrize("name", ["username", "password", "identitytoken"])
def test_half_a_character_is_refused_and_not_shown(name):
    entry = {"username": "me", "password": "p"} | {name: "hunter2\ud800"}
    with pytest.raises(CredentialError, match="half a character") as caught:
        config_of(auths={"quay.io": entry}).find_entry(parse_repository("quay.io/a"))
    assert "hunter2" not in str(caught.value)


def test_a_number_that_python_does_not_take_is_a_broken_file():
    with pytest.raises(ConfigurationError, match="not JSON"):
        parse_docker_config(b'{"auths": {}, "n": ' + b"1" * 5000 + b"}", "config.json")
