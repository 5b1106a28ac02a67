"""What completes a registry's network: the environment, docker's folders, what this libcurl can do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pycurl
import pytest

from image_syncer.errors import ConfigurationError
from image_syncer.net.network_options import Reach, certificate_folders
from image_syncer.registry import DIRECT, NO_PROXY, Network
from support.certificates import make_certificates, make_client_certificate
from support.programs import find_program, run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CERT, KEY, SEALED, OTHER_KEY = "a certificate", "its key", "its key, encrypted", "another key"
"""What a file of a folder holds."""
PASSWORD = "hunter2"
ALL = pycurl.VERSION_HTTP2 | pycurl.VERSION_HTTP3
PROXIED = {"HTTPS_PROXY": "http://me:hunter2@proxy:3128", "no_proxy": "a.io"}


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files behind the words."""
    made, other = (make_certificates(tmp_path_factory.mktemp(name)) for name in ("one", "other"))
    certificate, key = make_client_certificate(made)
    sealed = key.with_name("sealed.key")
    seal = ("pkcs8", "-topk8", "-in", str(key), "-passout", f"pass:{PASSWORD}", "-out", str(sealed))
    run_program([find_program("openssl"), *seal])
    texts = [path.read_text() for path in (certificate, key, sealed, other.key)]
    return dict(zip((CERT, KEY, SEALED, OTHER_KEY), texts, strict=True))


@pytest.fixture
def fill(contents: dict[str, str]) -> Callable[..., str]:
    """Makes a folder with files, whose names have "_" for the dot, and gives the one above it."""

    def fill_folder(folder: Path, **files: str) -> str:
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(contents.get(content, content))
        return str(folder.parent)

    return fill_folder


def complete(
    network: Network = DIRECT, environ: dict[str, str] | None = None, folders: tuple[str, ...] = ()
) -> Network:
    return Reach(environ or {}, folders, (0x080E00, ALL)).complete("r.io:5000", network)


def test_where_nothing_is_said_nothing_is_special() -> None:
    assert complete() is DIRECT


def test_proxies_of_the_environment() -> None:
    assert complete(environ=PROXIED) == Network(
        proxy="http://me:hunter2@proxy:3128",
        plain_proxy=NO_PROXY,
        no_proxy="a.io,localhost,127.0.0.0/8,::1",
        environment_proxy=True,
    )


def test_http_3_goes_through_no_proxy() -> None:
    assert complete(Network(http_version="3"), PROXIED).http_version == "2"
    assert complete(Network(http_version="3", proxy=NO_PROXY), PROXIED).http_version == "3"


@pytest.mark.parametrize("proxy", [NO_PROXY, "http://other:1"])
def test_the_entry_goes_before_the_environment(proxy: str) -> None:
    assert complete(Network(proxy=proxy), PROXIED) == Network(proxy=proxy)


def test_a_variable_that_names_no_proxy_is_an_error_without_its_value() -> None:
    with pytest.raises(ConfigurationError) as caught:
        complete(environ={"HTTPS_PROXY": "ftp://me:hunter2@proxy"})
    assert "HTTPS_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("registry", "written", "expected"),
    [
        ("r.io:5000", ("10.0.0.1", "[::1]"), ("r.io:5000:10.0.0.1,[::1]",)),
        ("r.io", ("10.0.0.1,10.0.0.2",), ("r.io:443:10.0.0.1,10.0.0.2", "r.io:80:10.0.0.1,10.0.0.2")),
        (
            "docker.io",
            ("[::1]", "cdn:443:10.0.0.2"),
            ("cdn:443:10.0.0.2", "registry-1.docker.io:443:[::1]", "registry-1.docker.io:80:[::1]"),
        ),
    ],
)
def test_addresses_alone_are_those_of_the_registry(
    registry: str, written: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert Reach({}, ()).complete(registry, Network(resolve=written)).resolve == expected


def test_the_folders_of_docker_and_podman_in_their_order(tmp_path: Path, fill: Callable[..., str]) -> None:
    assert certificate_folders({"HOME": "/nest"}) == (
        "/nest/.config/containers/certs.d",
        "/etc/containers/certs.d",
        "/etc/docker/certs.d",
    )
    fill(tmp_path / "one" / "other.io", ca_crt=CERT)
    two = fill(tmp_path / "two" / "r.io:5000", b_crt=CERT, a_crt=CERT, z_cert=CERT, z_key=KEY, y_cert=CERT, y_key=KEY)
    three = fill(tmp_path / "three" / "r.io:5000", never_crt=CERT)
    found = complete(folders=(str(tmp_path / "one"), two, three))
    place = f"{two}/r.io:5000"
    assert found == Network(
        authorities=(f"{place}/a.crt", f"{place}/b.crt"), client_cert=f"{place}/y.cert", client_key=f"{place}/y.key"
    )


def test_the_entry_goes_before_the_folder(tmp_path: Path, fill: Callable[..., str], contents: dict[str, str]) -> None:
    folder = fill(tmp_path / "certs.d" / "r.io:5000", a_crt=CERT, b_cert=CERT, b_key=KEY)
    own = fill(tmp_path / "own" / "mine", ca_pem=CERT, both_pem=f"{contents[CERT]}\n{contents[KEY]}")
    network = Network(client_cert=f"{own}/mine/both.pem")
    reach = Reach({}, (folder,))
    assert reach.complete("r.io:5000", network, ca_file=f"{own}/mine/ca.pem") == network


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a_cert": CERT}, "a.cert: there is no a.key beside it"),
        ({"a_key": KEY}, "a.key: there is no a.cert beside it"),
        ({"a_crt": "words"}, "a.crt cannot be read as PEM certificates"),
        ({"a_cert": CERT, "a_key": "words"}, "a.key cannot be read as PEM private key"),
        ({"a_cert": CERT, "a_key": SEALED}, "a.key is encrypted → write its password as client_key_password"),
        ({"a_cert": CERT, "a_key": OTHER_KEY}, "a.key does not belong to the certificate in"),
    ],
)
def test_what_is_wrong_in_a_folder(tmp_path: Path, fill: Callable[..., str], files: dict[str, str], said: str) -> None:
    folder = fill(tmp_path / "certs.d" / "r.io:5000", **files)
    with pytest.raises(ConfigurationError) as caught:
        complete(folders=(folder,))
    assert said in str(caught.value)
    assert not caught.value.retryable


def test_a_password_opens_a_key(tmp_path: Path, fill: Callable[..., str]) -> None:
    folder = fill(tmp_path / "own" / "mine", cert_pem=CERT, key_pem=SEALED)
    cert, key = f"{folder}/mine/cert.pem", f"{folder}/mine/key.pem"
    network = Network(client_cert=cert, client_key=key, client_key_password=PASSWORD)
    assert complete(network) == network
    with pytest.raises(ConfigurationError, match="client_key_password does not open the key") as caught:
        complete(replace(network, client_key_password="wrong-one"))
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("http_version", "version", "said"),
    [
        ("3", (0x080E00, pycurl.VERSION_HTTP2), "does not speak HTTP/3"),
        ("2", (0x080E00, 0), "does not speak HTTP/2"),
        ("2", (0x080D00, ALL), "needs libcurl 8.14.0"),
    ],
)
def test_versions_of_http_that_this_libcurl_does_not_speak(
    http_version: str, version: tuple[int, int], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Reach({}, (), version).complete("r.io", Network(http_version=http_version))
    assert said in str(caught.value)
    assert str(caught.value).startswith("r.io [http_version]: ")
