from __future__ import annotations

import pycurl
import pytest

from image_syncer.errors import Origin
from image_syncer.net import transport_error
from image_syncer.net.curl_errors import E_PROXY
from image_syncer.registry import DIRECT, NO_PROXY, Network, Operation, Request

REQUEST = Request(Operation.GET_BLOB, "GET", "https://registry.example/v2/a/blobs/sha256:1", None)
ENTRY = Network(proxy="http://me:hunter2@proxy:3128")
ENVIRONMENT = Network(proxy="socks5h://me:hunter2@proxy:1080", environment_proxy=True)


@pytest.mark.parametrize(
    ("code", "words", "hint", "retryable"),
    [
        (pycurl.E_RECV_ERROR, "CONNECT tunnel failed, response 407", "wants a user name and a password", False),
        (pycurl.E_RECV_ERROR, "CONNECT tunnel failed, response 403", "have the host and its port allowed", False),
        (pycurl.E_RECV_ERROR, "CONNECT tunnel failed, response 503", "cannot reach the registry", True),
        (E_PROXY, "User was rejected by the SOCKS5 server (1 1).", "wants a user name and a password", False),
        (E_PROXY, "Can't complete SOCKS5 connection to x. (4)", "cannot reach the registry", True),
        (pycurl.E_COULDNT_RESOLVE_PROXY, "Could not resolve proxy: proxy", "Check that the proxy runs", True),
        (pycurl.E_OPERATION_TIMEDOUT, "Connection timed out after 2000 milliseconds", "does not answer", True),
        (pycurl.E_OPERATION_TIMEDOUT, "Resolving timed out after 2000 milliseconds", "does not answer", True),
        (pycurl.E_OPERATION_TIMEDOUT, "SSL connection timeout", "does not answer", True),
        (pycurl.E_COULDNT_CONNECT, "Failed to connect to x over proxy proxy after 0 ms", "Check that the proxy", True),
    ],
)
@pytest.mark.parametrize(
    ("network", "shown", "where"),
    [(ENTRY, "(proxy http://proxy:3128)", "`proxy` of"), (ENVIRONMENT, "(proxy socks5h://proxy:1080)", "https_proxy")],
)
def test_what_a_proxy_did_is_told_with_its_name_and_the_cure(
    code: int, words: str, hint: str, *, retryable: bool, network: Network, shown: str, where: str
) -> None:
    error = transport_error(code, words, REQUEST, Origin.SOURCE, network)
    assert str(error.hint).startswith("The proxy" if "Check" not in hint else "Check")
    assert hint in str(error.hint)
    assert where in str(error.hint)
    assert error.message.endswith(shown)
    assert error.retryable == retryable
    assert "hunter2" not in f"{error} {error.to_data()}"


@pytest.mark.parametrize("network", [DIRECT, Network(proxy=NO_PROXY)])
def test_where_there_is_no_proxy_nothing_is_said_of_one(network: Network) -> None:
    error = transport_error(pycurl.E_COULDNT_CONNECT, "refused", REQUEST, Origin.SOURCE, network)
    assert "proxy" not in str(error)


def test_what_the_registry_did_is_not_laid_at_the_proxys_door() -> None:
    for code, words in (
        (pycurl.E_PARTIAL_FILE, "end of response with 5 bytes missing"),
        (pycurl.E_OPERATION_TIMEDOUT, "Operation too slow. Less than 1 bytes/sec transferred the last 3 seconds"),
    ):
        assert "(proxy" not in transport_error(code, words, REQUEST, Origin.SOURCE, ENTRY).message
