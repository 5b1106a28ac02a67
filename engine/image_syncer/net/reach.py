"""How a registry is reached, in full: what its entry says, the proxies of the environment, docker's folders of
certificates. Found out once for a registry and run, by the coordinator; workers are told.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.net.host_certificates import certificate_folders, find_host_certificates
from image_syncer.registry import DIRECT, NO_PROXY, Network, Operation, environment_proxies, recognise_host
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Reach"]

_PORTS = (443, 80)
_LEAST_FOR_HTTP2 = 0x080E00
"""libcurl 8.14.0: before it, a download that is paused and goes on could stand for ever
(https://github.com/curl/curl/issues/16955).
"""
_CERTIFICATES = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEYS = (b"PRIVATE KEY-----",)
_KEY_MEND = "name a PEM file; where the key is in another file than its certificate, write client_key"
_PROXY_MEND = "write http://HOST:PORT, or socks5h://HOST:PORT"


class Reach:
    """Completes what was written for registries.

    `environ` is where proxies are read from, `folders` where certificates are, docker's by default, `version` what
    `pycurl.version_info()` says.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        folders: Sequence[str] | None = None,
        version: tuple[int, int] | None = None,
    ) -> None:
        self._environ = environ
        self._folders = certificate_folders(environ) if folders is None else folders
        if version is None:
            info = pycurl.version_info()
            version = (info[2], info[4])
        self._version = version

    def complete(self, registry: str, network: Network, *, ca_file: str | None = None) -> Network:
        """The network of `registry`; `network` and `ca_file` are what its entry says.

        Raises ConfigurationError for what cannot work: a key without its password, a version of HTTP that this
        libcurl does not speak, a proxy in the environment that is none.
        """
        if network.unix_socket is not None:
            return network
        network = self._with_certificates(registry, network, ca_file)
        for path in (ca_file,) if ca_file else network.authorities:
            _read_pem(registry, path, _CERTIFICATES, "certificates", "name the PEM file of the authority as ca_file")
        network = self._with_proxies(network)
        if network.resolve:
            network = replace(
                network, resolve=_for_host(network.resolve, recognise_host(registry).api_host or registry)
            )
        _check_key(registry, network)
        self._check_version(registry, network)
        return DIRECT if network.is_default else network

    def _with_certificates(self, registry: str, network: Network, ca_file: str | None) -> Network:
        found = find_host_certificates(registry, self._folders)
        if found.authorities and ca_file is None:
            network = replace(network, authorities=found.authorities)
        if found.client_cert is not None and network.client_cert is None:
            network = replace(network, client_cert=found.client_cert, client_key=found.client_key)
        return network

    def _with_proxies(self, network: Network) -> Network:
        if network.proxy is not None:
            return network
        try:
            secure, plain, without = environment_proxies(self._environ)
        except ValueError as error:
            raise _unusable("the environment", None, str(error), _PROXY_MEND) from None
        if secure is None and plain is None:
            return network
        if secure is not None and network.http_version == "3":
            network = replace(network, http_version="2")  # few proxies let UDP through, and each try costs a request
        return replace(
            network,
            proxy=secure or NO_PROXY,
            plain_proxy=plain or NO_PROXY,
            no_proxy=without,
            environment_proxy=True,
        )

    def _check_version(self, registry: str, network: Network) -> None:
        wanted, (number, features) = network.http_version, self._version
        what = None
        if wanted == "3" and not features & pycurl.VERSION_HTTP3:
            what = "the libcurl of this installation does not speak HTTP/3"
        elif wanted == "2" and not features & pycurl.VERSION_HTTP2:
            what = "the libcurl of this installation does not speak HTTP/2"
        elif wanted in ("2", "3") and number < _LEAST_FOR_HTTP2:
            what = f"HTTP/{wanted} needs libcurl 8.14.0: before it, transfers could stand for ever"
        if what is not None:
            mend = "install pycurl from its wheel (pip install --only-binary pycurl pycurl), or leave http_version out"
            raise _unusable(registry, "http_version", what, mend)


def _for_host(texts: tuple[str, ...], host: str) -> tuple[str, ...]:
    """Texts of CURLOPT_RESOLVE: addresses alone are those of the registry, at its port."""
    name, colon, port = host.rpartition(":")
    named = bool(colon) and port.isdigit() and not name.endswith(":")
    places = (host,) if named else tuple(f"{host}:{port}" for port in _PORTS)
    alone = [text for text in texts if _is_alone(text)]
    full = [text for text in texts if not _is_alone(text)]
    return (*full, *(f"{place}:{','.join(alone)}" for place in places if alone))


def _is_alone(text: str) -> bool:
    first = text.partition(",")[0]
    return ":" not in first or (first.startswith("[") and first.endswith("]"))


def _check_key(registry: str, network: Network) -> None:
    if network.client_cert is None:
        return
    cert, key, password = network.client_cert, network.client_key or network.client_cert, network.client_key_password
    _read_pem(registry, cert, _CERTIFICATES, "certificates", _KEY_MEND)
    if b"ENCRYPTED" in _read_pem(registry, key, _KEYS, "private key", _KEY_MEND) and password is None:
        mend = "write its password as client_key_password: ${NAME}"
        raise _unusable(registry, None, f"the key in {key} is encrypted", mend)
    try:
        # What libcurl says of these two comes with the first connection, and is one sentence for all mistakes.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password or "")
    except (ssl.SSLError, OSError, ValueError) as error:
        if "MISMATCH" in str(getattr(error, "reason", "")):
            what, mend = f"the key in {key} does not belong to the certificate in {cert}", "name the key that does"
        elif password is not None:
            what, mend = f"client_key_password does not open the key in {key}", "correct it"
        else:
            what, mend = f"the certificate in {cert} and the key in {key} cannot be used", _KEY_MEND
        raise _unusable(registry, None, what, mend) from None


def _read_pem(registry: str, path: str, signs: tuple[bytes, ...], noun: str, mend: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        content, what = b"", f"the file {path} cannot be read: {error.strerror}"
    else:
        what = f"the file {path} cannot be read as PEM {noun}"
    if any(sign in content for sign in signs):
        return content
    raise _unusable(registry, None, what, mend)


def _unusable(place: str, key: str | None, what: str, mend: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, None, key, what, mend)], operation=Operation.PING.value)
