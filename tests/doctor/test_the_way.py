"""What can be wrong before the first answer: the name, the port, the proxy, TLS."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from doctor.conftest import SECRET
from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread
from support.certificates import make_certificates
from support.connect_proxy import run_connect_proxy
from support.nginx import serve_nginx
from support.raw_server import found, serve_raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from doctor.conftest import Doctor

INSECURE = {"insecure": True}
PAGE = b"<html><title>Welcome to the intranet</title></html>"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of loopback that nobody listens at, and nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_name_that_does_not_exist(doctor: Doctor) -> None:
    seen = doctor.look("registry.invalid/team/app")
    assert seen.failed() == ["DNS"]
    assert "registry.invalid has no address" in seen.said("DNS")
    assert "spelling" in seen.said("DNS")
    assert seen["ping"]["state"] == "not tried"
    assert seen.code == 1


def test_a_port_that_nobody_listens_at(doctor: Doctor, closed_port: int) -> None:
    seen = doctor.look(f"127.0.0.1:{closed_port}/app")
    assert seen.failed() == ["TCP"]
    assert f"port {closed_port} takes no connections at 127.0.0.1 (connection refused)" in seen.said("TCP")


def test_plain_http_that_is_asked_in_tls(doctor: Doctor) -> None:
    with serve_in_thread() as registry:
        seen = doctor.look(f"{registry.address}/app")
    assert seen.failed() == ["TLS"]
    assert "set insecure: true" in seen.said("TLS")


def test_a_port_that_wants_tls_and_is_asked_in_plain_http(doctor: Doctor) -> None:
    said = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 50\r\n\r\nThe plain HTTP request was sent to HTTPS port......"

    with serve_raw(lambda _method, _path: [said]) as server:
        seen = doctor.look(f"{server.address}/app", INSECURE)
    assert seen.failed() == ["ping"]
    assert "This port speaks TLS and was asked in plain HTTP: leave `insecure` out" in seen.said("ping")


@pytest.mark.real
def test_old_versions_of_tls(doctor: Doctor, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certificates")
    lines = (f"ssl_certificate {made.certificate};", f"ssl_certificate_key {made.key};")
    old = ("ssl_protocols TLSv1;", "ssl_ciphers ALL:@SECLEVEL=0;")
    with serve_nginx(tmp_path / "nginx", "127.0.0.1:1", tls=(*lines, *old)) as nginx:
        seen = doctor.look(f"{nginx.address}/app", {"ca_file": str(made.authority)})
    assert seen.failed() == ["TLS"]
    assert "only old versions of TLS" in seen.said("TLS")


@pytest.mark.real
@pytest.mark.parametrize(
    ("days", "names", "believes", "words"),
    [
        (-1, ("IP:127.0.0.1",), True, ("it has expired", "since", "(1 day ago)", "renewed", "clock")),
        (30, ("DNS:other.example",), True, ("it is for other.example, and not for 127.0.0.1", "Write the registry")),
        (30, ("IP:127.0.0.1",), False, ("no authority that this machine trusts", "made-up authority", "ca_file")),
    ],
    ids=["expired", "another name", "an unknown authority"],
)
def test_a_certificate_that_is_not_believed(
    doctor: Doctor, tmp_path: Path, days: int, names: tuple[str, ...], believes: bool, words: tuple[str, ...]
) -> None:
    made = make_certificates(tmp_path / "certificates", names, days=days)
    with serve_in_thread(ssl_context=made.server_context()) as registry:
        seen = doctor.look(f"{registry.address}/app", {"ca_file": str(made.authority)} if believes else None)
    assert seen.failed() == ["certificate"]
    for word in words:
        assert word in seen.said("certificate")
    assert seen["TLS"]["what"].startswith("TLSv1.3, ")
    assert seen["certificate"]["facts"]["subject"] == "CN = made-up server"
    assert seen["ping"]["state"] == "not tried"


@pytest.mark.real
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_registry_that_wants_a_certificate_of_ours(doctor: Doctor, tmp_path: Path, version: ssl.TLSVersion) -> None:
    made = make_certificates(tmp_path / "certificates")
    context = made.server_context()
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    context.load_verify_locations(made.authority)
    own = {"client_cert": str(made.certificate), "client_key": str(made.key)}
    with serve_in_thread(ssl_context=context) as registry:
        without = doctor.look(registry.address, {"ca_file": str(made.authority)})
        with_it = doctor.look(registry.address, {"ca_file": str(made.authority), **own})
    assert without.failed() == [{ssl.TLSVersion.TLSv1_2: "TLS", ssl.TLSVersion.TLSv1_3: "ping"}[version]]
    assert "give client_cert and client_key" in without.said(without.failed()[0])
    assert (with_it.code, with_it["TLS"]["state"]) == (0, "ok")


@pytest.mark.real
def test_a_certificate_that_ends_soon_and_one_that_nobody_looks_at(doctor: Doctor, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certificates", days=3)
    with serve_in_thread(ssl_context=made.server_context()) as registry:
        push_to(registry.storage, "app", ContentBuilder(seed=1).image(), ["v1"])
        seen = doctor.look(f"{registry.address}/app", {"ca_file": str(made.authority)})
        unseen = doctor.look(f"{registry.address}/app", INSECURE)
    assert (seen.code, seen["certificate"]["state"]) == (0, "warning")
    assert "renewed in time" in seen.said("certificate")
    assert (unseen.code, unseen["certificate"]["state"]) == (0, "warning")
    assert "taken without a look" in unseen.said("certificate")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("407 Proxy Authentication Required", ("response 407", "wants a user name and a password", "no_proxy")),
        ("403 Forbidden", ("response 403", "does not let us go there", "no_proxy")),
        ("502 Bad Gateway", ("response 502", "cannot reach the registry")),
    ],
)
def test_a_proxy_that_refuses(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, refusal: str, words: tuple[str, ...]
) -> None:
    with run_connect_proxy(refusal) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("http://", f"http://me:{SECRET}@"))
        seen = doctor.look("registry.invalid/app")
    assert seen.failed() == ["proxy"]
    for word in (*words, f"(proxy {proxy.url})"):
        assert word in seen.said("proxy")
    assert seen["DNS"]["what"] == "the proxy 127.0.0.1 is 127.0.0.1"
    assert seen["TCP"]["state"] == "ok"


@pytest.mark.parametrize("where", ["environment", "entry"])
def test_a_proxy_that_is_away(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, closed_port: int, where: str) -> None:
    proxy = f"http://127.0.0.1:{closed_port}"
    if where == "environment":
        monkeypatch.setenv("https_proxy", proxy)
    seen = doctor.look("registry.invalid/app", {"proxy": proxy} if where == "entry" else None)
    assert seen.failed() == ["proxy", "TCP"]
    assert "Check that the proxy runs there" in seen.said("proxy")
    assert f"Check that the proxy runs, and its port; it comes from the {where}" in seen.said("TCP").replace(
        "registry's ", ""
    )


@pytest.mark.real
def test_a_proxy_that_lets_through(doctor: Doctor, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certificates")
    with serve_in_thread(ssl_context=made.server_context()) as registry, run_connect_proxy() as proxy:
        seen = doctor.look(registry.address, {"ca_file": str(made.authority), "proxy": proxy.url})
        assert set(proxy.targets) == {registry.address}
    assert seen.code == 0
    assert seen["proxy"]["what"] == f"{proxy.url}, from the registry's entry, connects"


def test_a_proxy_that_is_gone_round(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve_in_thread() as registry:
        seen = doctor.look(registry.address, INSECURE)
    assert seen.code == 0
    assert seen["proxy"]["what"] == "none is used, because no_proxy names the host"


def test_addresses_that_the_user_gives(doctor: Doctor) -> None:
    with serve_in_thread() as registry:
        port = registry.address.rpartition(":")[2]
        seen = doctor.look(f"registry.invalid:{port}", {**INSECURE, "resolve": ["127.0.0.1"]})
    assert seen.code == 0
    assert seen["DNS"]["what"] == "registry.invalid is 127.0.0.1, as `resolve` of the registry's entry says"


def test_no_registry_behind_the_name(doctor: Doctor) -> None:
    with serve_raw(lambda _method, _path: [found(PAGE, Content_Type="text/html")]) as server:
        seen = doctor.look(f"{server.address}/app", INSECURE)
    assert seen.failed() == ["ping"]
    assert "a web page came for an answer: there is no registry" in seen.said("ping")
    assert seen["tags"]["state"] == "not tried"


def test_nothing_but_404_behind_the_name(doctor: Doctor) -> None:
    said = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with serve_raw(lambda _method, _path: [said]) as server:
        seen = doctor.look(f"{server.address}/app", INSECURE)
    assert seen.failed() == ["ping"]
    assert "There is no registry at this address" in seen.said("ping")
