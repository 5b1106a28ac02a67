from __future__ import annotations

from image_syncer.registry import DIRECT, NO_PROXY, Network

FULL = Network(
    proxy="http://me:hunter2@proxy:1",
    no_proxy="a",
    environment_proxy=True,
    client_cert="/c",
    client_key="/k",
    client_key_password="hunter2",
    authorities=("/a", "/b"),
    resolve=("a:1:127.0.0.1",),
    interface="lo",
    ip_version=4,
    http_version="2",
    headers=(("X-Key", "hunter2"), ("X-Other", "v")),
)


def test_what_crosses_a_process_is_the_same_there() -> None:
    text = FULL.to_text()
    assert text is not None
    other = Network.from_text(text)
    assert other == FULL
    assert hash(other) == hash(FULL)
    assert DIRECT.to_text() is None
    assert Network.from_text(None) is DIRECT


def test_no_secret_is_shown() -> None:
    assert "hunter2" not in repr(FULL)


def test_plain_http_may_have_a_proxy_of_its_own() -> None:
    network = Network(proxy="http://a:1", plain_proxy=NO_PROXY)
    assert network.proxy_for("https://x/") == "http://a:1"
    assert network.proxy_for("http://x/") == NO_PROXY
    assert Network(proxy="http://a:1").proxy_for("http://x/") == "http://a:1"
