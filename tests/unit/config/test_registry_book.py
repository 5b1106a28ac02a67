"""Which entry is meant for a repository."""

from __future__ import annotations

import pickle

import pytest

from image_syncer.config import HostSettings, RegistryBook, RegistryEntry, canonical_prefix
from image_syncer.oci import parse_repository
from image_syncer.registry import Credential

BOOK = RegistryBook(
    [
        RegistryEntry("quay.io", Credential("host", "p")),
        RegistryEntry("quay.io/coreos", Credential("namespace", "p"), insecure=True),
        RegistryEntry("quay.io/coreos/etcd/deep/", Credential("deep", "p"), max_connections=8),
        RegistryEntry("registry.hub.docker.com", Credential("hub", "p"), max_connections=4, ca_file="/ca"),
        RegistryEntry("localhost:5000", skip_tls_verify=True),
        RegistryEntry("docker.io/library", None, max_connections=2),
    ]
)


@pytest.mark.parametrize(
    ("repository", "prefix"),
    [
        ("quay.io/other/x", "quay.io"),
        ("quay.io/coreos/etcd", "quay.io/coreos"),
        ("quay.io/coreosx/etcd", "quay.io"),
        ("quay.io/coreos", "quay.io/coreos"),
        ("quay.io/coreos/etcd/deep/er", "quay.io/coreos/etcd/deep/"),
        ("bitnami/redis", "registry.hub.docker.com"),
        ("nginx", "docker.io/library"),
        ("localhost:5000/a", "localhost:5000"),
        ("localhost:5001/a", None),
        ("ghcr.io/a/b", None),
    ],
)
def test_the_longest_prefix_on_a_path_boundary_wins(repository, prefix):
    entry = BOOK.entry_for(parse_repository(repository))
    assert (entry.prefix if entry else None) == prefix


def test_order_does_not_matter():
    repository = parse_repository("quay.io/coreos/etcd")
    assert RegistryBook(BOOK.entries[::-1]).entry_for(repository) is BOOK.entries[1]


@pytest.mark.parametrize(
    ("registry", "settings"),
    [
        ("quay.io", HostSettings(insecure=True, max_connections=8)),
        ("docker.io", HostSettings(ca_file="/ca", max_connections=2)),
        ("index.docker.io", HostSettings(ca_file="/ca", max_connections=2)),
        ("localhost:5000", HostSettings(skip_tls_verify=True)),
        ("ghcr.io", HostSettings()),
    ],
)
def test_host_settings_are_merged_over_all_entries_of_the_host(registry, settings):
    assert BOOK.host_settings(registry) == settings


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry.hub.docker.com/bitnami/", "docker.io/bitnami"),
        ("https://QUAY.io/v2", "quay.io"),
        ("quay.io/v2", "quay.io/v2"),
        ("http://Localhost:5000/Team", "localhost:5000/Team"),
        ("not a host!", "not a host!"),
    ],
)
def test_canonical_prefix(text, canonical):
    assert canonical_prefix(text) == canonical


def test_no_secret_in_the_repr_and_a_book_can_be_sent():
    book = RegistryBook([RegistryEntry("quay.io", Credential("me", "hunter2-secret", "identity-secret"))])
    assert "secret" not in repr(book)
    assert pickle.loads(pickle.dumps(book)) == book
