from __future__ import annotations

import hashlib
import pickle

import pytest

from image_syncer.oci import Digest, digest_of
from support.digests import EMPTY_DIGEST

SHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_empty_digest_is_that_of_no_bytes():
    assert EMPTY_DIGEST == SHA256
    assert digest_of(b"") == EMPTY_DIGEST


def test_a_digest_is_its_text_and_knows_its_parts():
    digest = Digest(SHA256)
    assert digest == SHA256
    assert {digest: 1}[SHA256] == 1
    assert (digest.algorithm, digest.hex, digest.short) == ("sha256", SHA256[7:], "sha256:e3b0c44298fc")


def test_sha512_digests_are_digests_too():
    digest = digest_of(b"abc", "sha512")
    assert digest == "sha512:" + hashlib.sha512(b"abc").hexdigest()
    assert digest.algorithm == "sha512"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_new_hash_makes_the_hash_of_the_algorithm(algorithm):
    digest = digest_of(b"layer", algorithm)
    running = digest.new_hash()
    running.update(b"lay")
    running.update(b"er")
    assert f"{algorithm}:{running.hexdigest()}" == digest


def test_a_digest_crosses_processes_as_a_digest():
    copied = pickle.loads(pickle.dumps(EMPTY_DIGEST))
    assert copied == EMPTY_DIGEST
    assert type(copied) is Digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:abc",
        SHA256.upper(),
        SHA256[:-1] + "G",
        SHA256 + "\n",
        SHA256 + "0",
        " " + SHA256,
        "sha512:" + SHA256[7:],
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "../../etc/passwd",
    ],
)
def test_what_is_not_a_digest_is_refused_with_a_sentence(text):
    with pytest.raises(ValueError, match="is not a digest: write sha256:"):
        Digest(text)


def test_a_message_about_a_digest_stays_short():
    with pytest.raises(ValueError) as caught:
        Digest("x" * 1_000_000)
    assert len(str(caught.value)) < 250


def test_an_unknown_algorithm_makes_no_digest():
    with pytest.raises(ValueError):
        digest_of(b"", "md5")
