from __future__ import annotations

import pycurl
import pytest

from image_syncer.errors import Origin
from image_syncer.net import transport_error
from image_syncer.oci import Repository
from image_syncer.registry import Network, Operation, Request

REQUEST = Request(
    Operation.GET_BLOB,
    "GET",
    "https://registry.example/v2/a/blobs/sha256:1?X-Signature=secret",
    Repository("registry.example", "a"),
)


@pytest.mark.parametrize(
    ("code", "phase", "retryable"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, "resolve", True),
        (pycurl.E_COULDNT_CONNECT, "connect", True),
        (pycurl.E_SSL_CONNECT_ERROR, "tls", True),
        (pycurl.E_PEER_FAILED_VERIFICATION, "tls", False),
        (pycurl.E_SSL_CACERT_BADFILE, "tls", False),
        (pycurl.E_OPERATION_TIMEDOUT, "timeout", True),
        (pycurl.E_SEND_ERROR, "send", True),
        (pycurl.E_SEND_FAIL_REWIND, "send", True),
        (pycurl.E_RECV_ERROR, "receive", True),
        (pycurl.E_PARTIAL_FILE, "receive", True),
        (pycurl.E_GOT_NOTHING, "receive", True),
        (pycurl.E_URL_MALFORMAT, "receive", False),
        (9999, "receive", True),
    ],
)
def test_a_code_tells_the_phase_and_whether_trying_again_can_help(code: int, phase: str, *, retryable: bool) -> None:
    error = transport_error(code, "its own words", REQUEST, Origin.SOURCE)
    assert (error.phase, error.retryable, error.curl_code) == (phase, retryable, code)
    assert error.message == "GET https://registry.example/v2/a/blobs/sha256:1 failed: its own words"
    assert (error.origin, error.operation, error.repository) == (Origin.SOURCE, "get blob", "registry.example/a")


def test_words_that_are_missing_are_made_up_for_by_the_code() -> None:
    error = transport_error(pycurl.E_GOT_NOTHING, "", REQUEST, Origin.DESTINATION)
    assert error.message.endswith(f"failed: libcurl error {pycurl.E_GOT_NOTHING}")


@pytest.mark.parametrize("words", ["OpenSSL: wrong version number", "packet length too long", "http request"])
def test_plain_http_behind_a_tls_hello_is_recognised_and_final(words: str) -> None:
    error = transport_error(pycurl.E_SSL_CONNECT_ERROR, words, REQUEST, Origin.SOURCE)
    assert not error.retryable
    assert error.hint is not None
    assert "insecure: true" in error.hint


@pytest.mark.parametrize("alert", ["bad certificate", "certificate required", "unknown ca"])
def test_a_registry_that_wants_a_client_certificate_is_recognised_and_final(alert: str) -> None:
    """With TLS 1.3 it says so after the handshake, where the answer is read."""
    words = f"OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert {alert}, errno 0"
    error = transport_error(pycurl.E_RECV_ERROR, words, REQUEST, Origin.SOURCE)
    assert (error.retryable, error.phase) == (False, "tls")
    assert "client_cert" in str(error.hint)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, "spelling"),
        (pycurl.E_COULDNT_CONNECT, "firewall"),
        (pycurl.E_PEER_FAILED_VERIFICATION, "ca_file"),
        (pycurl.E_SSL_CACERT_BADFILE, "PEM"),
    ],
)
def test_what_a_person_can_mend_has_a_hint(code: int, word: str) -> None:
    error = transport_error(code, "words", REQUEST, Origin.SOURCE)
    assert error.hint is not None
    assert word in error.hint


def test_no_query_reaches_the_message() -> None:
    error = transport_error(pycurl.E_RECV_ERROR, "at https://h/x?X-Signature=secret", REQUEST, Origin.SOURCE)
    assert "secret" not in f"{error} {error.to_data()}"


def test_nobody_waits_for_a_process_of_ours_that_is_gone() -> None:
    network = Network(unix_socket="/run/gate")
    error = transport_error(pycurl.E_COULDNT_CONNECT, "", REQUEST, Origin.DESTINATION, network)
    assert (error.phase, error.retryable) == ("gone", False)
    assert "was killed" in str(error.hint)
    assert transport_error(pycurl.E_RECV_ERROR, "", REQUEST, Origin.DESTINATION, network).retryable
