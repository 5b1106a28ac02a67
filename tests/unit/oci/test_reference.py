from __future__ import annotations

import pytest

from image_syncer.oci import (
    Digest,
    InvalidReference,
    Reference,
    Repository,
    canonical_registry,
    is_tag,
    parse_reference,
    parse_repository,
)
from support.digests import EMPTY_DIGEST


@pytest.mark.parametrize(
    ("text", "registry", "name"),
    [
        ("nginx", "docker.io", "library/nginx"),
        ("bitnami/redis", "docker.io", "bitnami/redis"),
        ("docker.io/nginx", "docker.io", "library/nginx"),
        ("docker.io/library/nginx", "docker.io", "library/nginx"),
        ("index.docker.io/nginx", "docker.io", "library/nginx"),
        ("registry-1.docker.io/a/b", "docker.io", "a/b"),
        ("registry.hub.docker.com/library/nginx", "docker.io", "library/nginx"),
        ("quay.io/coreos/etcd", "quay.io", "coreos/etcd"),
        ("Quay.IO/coreos/etcd", "quay.io", "coreos/etcd"),
        ("quay.io/etcd", "quay.io", "etcd"),
        ("localhost/app", "localhost", "app"),
        ("localhost:5000/app", "localhost:5000", "app"),
        ("myhost:5000/a/b/c", "myhost:5000", "a/b/c"),
        ("10.0.0.1/app", "10.0.0.1", "app"),
        ("[::1]:5000/app", "[::1]:5000", "app"),
        ("[2001:0DB8:0::1]/app", "[2001:db8::1]", "app"),
        ("a/b", "docker.io", "a/b"),
        ("quay.io/a__b/c---d/e.f", "quay.io", "a__b/c---d/e.f"),
        ("  nginx ", "docker.io", "library/nginx"),
    ],
)
def test_repositories_are_completed_as_docker_does(text, registry, name):
    assert parse_repository(text) == Repository(registry, name)


def test_an_ipv4_address_in_ipv6_keeps_one_spelling():
    once = canonical_registry("[::ffff:1.2.3.4]:80")
    assert canonical_registry(once) == once == canonical_registry("[::FFFF:102:304]:80")


def test_a_reference_has_the_tag_and_the_digest_that_were_written():
    repository = Repository("quay.io", "a/b")
    assert parse_reference("quay.io/a/b") == Reference(repository, None, None)
    assert parse_reference("quay.io/a/b:1.0") == Reference(repository, "1.0", None)
    assert parse_reference(f"quay.io/a/b@{EMPTY_DIGEST}") == Reference(repository, None, EMPTY_DIGEST)
    assert parse_reference(f"quay.io/a/b:1.0@{EMPTY_DIGEST}") == Reference(repository, "1.0", EMPTY_DIGEST)


def test_sha512_is_taken_too():
    digest = "sha512:" + 128 * "a"
    assert parse_reference(f"app@{digest}").digest == Digest(digest)


def test_a_port_is_not_a_tag_and_a_tag_is_not_a_port():
    assert parse_reference("localhost:5000/app").tag is None
    assert parse_reference("host:5000/app:1").tag == "1"
    assert str(parse_reference("localhost:5000")) == "docker.io/library/localhost:5000"


def test_the_target_is_the_digest_where_there_is_one():
    assert parse_reference(f"app:1@{EMPTY_DIGEST}").target == EMPTY_DIGEST
    assert parse_reference("app:1").target == "1"
    with pytest.raises(RuntimeError, match=r"docker\.io/library/app names neither"):
        _ = parse_reference("app").target


def test_references_read_as_they_are_written():
    assert str(parse_reference(f"nginx:1@{EMPTY_DIGEST}")) == f"docker.io/library/nginx:1@{EMPTY_DIGEST}"
    assert str(parse_repository("[::1]:5000/a")) == "[::1]:5000/a"


def test_repositories_sort_by_registry_and_name():
    names = ["quay.io/b", "docker.io/x/z", "quay.io/a", "docker.io/x/a"]
    assert [str(repository) for repository in sorted(map(parse_repository, names))] == sorted(names)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "does not name a repository"),
        ("   ", "does not name a repository"),
        ("/", "does not name a repository"),
        ("quay.io/", "does not name a repository"),
        ("docker.io/", "does not name a repository"),
        ("quay.io//app", "does not name a repository"),
        ("quay.io/app/", "does not name a repository"),
        ("quay.io/App", "lower-case"),
        ("Foo/bar", "lower-case"),
        ("quay.io/-app", "does not name a repository"),
        ("quay.io/a..b", "does not name a repository"),
        ("quay.io/a___b", "does not name a repository"),
        ("quay.io/ünïcode", "does not name a repository"),
        ("quay.io/a\nb", "does not name a repository"),
        ("quay.io/../../etc", "does not name a repository"),
        ("quay.io/" + 256 * "a", "at most 255"),
        ("https://quay.io/app", "is a URL"),
        ("quay_io.x/app", "is not a registry's host"),
        ("-quay.io/app", "is not a registry's host"),
        ("quay.io:0/app", "is not a registry's host"),
        ("quay.io:65536/app", "is not a registry's host"),
        ("quay.io:/app", "is not a registry's host"),
        ("quay.io:port/app", "is not a registry's host"),
        ("[::1/app", "is not a registry's host"),
        ("[::1::]/app", "no IPv6 address"),
        ("[fe80::1%eth0]/app", "is not a registry's host"),
        (".../app", "is not a registry's host"),
        ("a." * 200 + "io/app", "is not a registry's host"),
        ("app:", "no usable tag"),
        ("app:-1", "no usable tag"),
        ("app:" + 129 * "a", "no usable tag"),
        ("app:1 2", "no usable tag"),
        ("app:1:2", "no usable tag"),
        ("app@", "no usable digest"),
        ("app@sha256:abc", "no usable digest"),
        (f"app@{EMPTY_DIGEST}:1", "no usable digest"),
        (f"app@{EMPTY_DIGEST}@{EMPTY_DIGEST}", "no usable digest"),
    ],
)
def test_bad_references_are_refused_with_a_sentence(text, about):
    with pytest.raises(InvalidReference, match=about) as caught:
        parse_reference(text)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["app:1", f"app@{EMPTY_DIGEST}"])
def test_a_repository_has_neither_tag_nor_digest(text):
    with pytest.raises(InvalidReference, match="leave out the tag and the digest"):
        parse_repository(text)


@pytest.mark.parametrize("text", ["https://me:hunter2@quay.io/app", "me:hunter2@quay.io/app"])
def test_a_password_in_a_name_is_not_repeated(text):
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["latest", "1.0", "_x", "A-b_c.d", "sha256-" + 64 * "0" + ".sig", 128 * "a"])
def test_tags(text):
    assert is_tag(text)


@pytest.mark.parametrize("text", ["", ".a", "-a", "a/b", "a:b", "a b", "é", "a\n", 129 * "a"])
def test_no_tags(text):
    assert not is_tag(text)


def test_every_name_of_docker_hub_is_one_registry():
    for host in ("docker.io", "index.docker.io", "registry-1.docker.io", "Registry.Hub.Docker.com"):
        assert canonical_registry(host) == "docker.io"
    assert canonical_registry("gcr.io") == "gcr.io"
    assert canonical_registry("gcr.io:0443") == "gcr.io:443"
