"""References and digests read back as they were written, and no text makes the parsers fail in another way."""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image_syncer.oci import (
    Digest,
    InvalidReference,
    Reference,
    Repository,
    canonical_registry,
    digest_of,
    is_tag,
    parse_reference,
    parse_repository,
)
from support.digests import EMPTY_DIGEST

ALGORITHMS = st.sampled_from(["sha256", "sha512"])
DIGESTS = st.builds(digest_of, st.binary(max_size=16), ALGORITHMS)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
NAMES = st.from_regex(
    r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}){0,3}",
    fullmatch=True,
).filter(lambda name: len(name) <= 200)
PORTS = st.just("") | st.integers(1, 65535).map(lambda port: f":{port}")
HOSTS = (
    st.just("localhost")
    | st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?){1,3}", fullmatch=True)
    | st.integers(0, 2**128 - 1).map(lambda number: f"[{IPv6Address(number).compressed}]")
)
REGISTRIES = st.builds(lambda host, port: canonical_registry(host + port), HOSTS, PORTS)
REPOSITORIES = st.builds(Repository, REGISTRIES, NAMES) | NAMES.map(
    lambda name: Repository("docker.io", name if "/" in name else f"library/{name}")
)
REFERENCES = st.builds(Reference, REPOSITORIES, st.none() | TAGS, st.none() | DIGESTS)
TEXTS = st.text() | st.text(alphabet="abcAB01.:/@-_[]% \n", max_size=40)


@given(REPOSITORIES)
def test_repositories_read_back_as_they_were_written(repository):
    assert parse_repository(str(repository)) == repository


@given(REFERENCES)
def test_references_read_back_as_they_were_written(reference):
    assert parse_reference(str(reference)) == reference


@given(TEXTS)
@example("localhost:5000")
@example("[::ffff:1.2.3.4]/a")
@example("[::]/0:0")
def test_any_text_is_a_reference_or_is_refused_with_a_sentence(text):
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        sentence = str(error)
        assert sentence.isprintable()
        assert len(sentence) < 600
    else:
        assert parse_reference(str(reference)) == reference
        assert reference.tag is None or is_tag(reference.tag)


@given(REPOSITORIES, TAGS)
def test_a_tag_does_not_change_the_repository(repository, tag):
    assert parse_reference(f"{repository}:{tag}") == Reference(repository, tag, None)


@given(HOSTS, PORTS)
def test_a_registry_has_one_spelling(host, port):
    once = canonical_registry(host + port)
    assert canonical_registry(once) == once
    assert canonical_registry((host + port).upper()) == once


@given(st.binary(), ALGORITHMS)
def test_digests_are_those_of_hashlib_and_read_back(data, algorithm):
    digest = digest_of(data, algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    assert Digest(str(digest)) == digest
    assert f"{digest.algorithm}:{digest.hex}" == digest
    assert digest.startswith(digest.short)


@given(DIGESTS, st.data())
def test_a_digest_with_one_wrong_character_is_none(digest, data):
    position = data.draw(st.integers(0, len(digest) - 1))
    wrong = data.draw(st.characters().filter(lambda character: character not in "0123456789abcdef"))
    changed = digest[:position] + wrong + digest[position + 1 :]
    if changed != digest:
        with pytest.raises(ValueError, match="is not a digest"):
            Digest(changed)


@given(st.text())
@example(EMPTY_DIGEST + "\n")
def test_any_text_is_a_digest_or_is_refused(text):
    try:
        assert Digest(text) == text
    except ValueError as error:
        sentence = str(error)
        assert sentence.isprintable()
