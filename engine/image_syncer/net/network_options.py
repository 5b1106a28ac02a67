"""A registry's network: completed from entry, environment and docker's folders, then set as libcurl's options.

The coordinator completes it once for each registry and run (`Reach`); workers get the result. $SSL_CERT_FILE and
$SSL_CERT_DIR mean what they mean to OpenSSL and Go. A registry's own authority is added to the system's hashed
directory where one exists, since OpenSSL then reads only the certificate that it needs, and else to the whole bundle.
Docker's folders: containers-certs.d(5), https://docs.docker.com/engine/security/certificates/.
"""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import (
    DIRECT,
    NO_PROXY,
    Network,
    Operation,
    environment_proxies,
    may_carry_credentials,
    recognise_host,
)
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.registry import Endpoint


_SYSTEM_FOLDERS = ("/etc/containers/certs.d", "/etc/docker/certs.d")


class HostCertificates(Value, frozen=True):
    """PEM files: authorities to trust in addition to the system's, and a client certificate with its key."""

    authorities: tuple[str, ...] = ()
    client_cert: str | None = None
    client_key: str | None = None


def certificate_folders(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the folders of certificates, in their order of precedence."""
    home = environ.get("HOME")
    own = (f"{home}/.config/containers/certs.d",) if home else ()
    return (*own, *_SYSTEM_FOLDERS)


def find_host_certificates(registry: str, folders: Sequence[str]) -> HostCertificates:
    """Return the certificates of `registry` ("quay.io", "registry.example:5000") in the first of `folders` with any.

    Of several client certificates the first by name counts. A folder that this user cannot read is skipped. Raises
    ConfigurationError where a certificate has no key, or a key no certificate.
    """
    for folder in folders:
        directory = Path(folder) / registry
        try:
            names = sorted(path.name for path in directory.iterdir() if path.is_file())
        except OSError:  # it does not exist, or this user cannot read it
            continue
        authorities = tuple(str(directory / name) for name in names if name.endswith(".crt"))
        certs = [name.removesuffix(".cert") for name in names if name.endswith(".cert")]
        keys = [name.removesuffix(".key") for name in names if name.endswith(".key")]
        for present, suffix, other, missing in ((certs, "cert", keys, "key"), (keys, "key", certs, "cert")):
            if alone := sorted(set(present) - set(other)):
                what = f"there is no {alone[0]}.{missing} beside it"
                mend = "a client certificate is NAME.cert with NAME.key; an authority is NAME.crt"
                raise ConfigurationError([Problem(str(directory / f"{alone[0]}.{suffix}"), None, None, what, mend)])
        pair = [str(directory / f"{certs[0]}.{suffix}") for suffix in ("cert", "key")] if certs else []
        return HostCertificates(authorities, *pair)
    return HostCertificates()


BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # the target of the one before
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
)
"""The distributions' files of all trusted authorities."""
DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/ca-trust/extracted/pem/directory-hash", "/etc/pki/tls/certs")
"""The distributions' directories with one file for each authority."""
_HASHED = lazy_pattern(r"[0-9a-f]{8}\.[0-9]+")
"""The names of certificates in a hashed directory: openssl-rehash(1)."""


class Trust(Value, frozen=True):
    """The system's authorities: a PEM file, hashed directories (with ":" between them), either or none.

    `same`: both have the distribution's authorities, so one of them is enough.
    """

    bundle: str | None
    directory: str | None
    same: bool = False


@functools.lru_cache(maxsize=1)
def system_trust() -> Trust:
    """Return the trust of this process's environment and system."""
    return find_trust(os.environ)


def find_trust(
    environ: Mapping[str, str], bundles: Sequence[str] = BUNDLES, directories: Sequence[str] = DIRECTORIES
) -> Trust:
    """Return $SSL_CERT_FILE, $CURL_CA_BUNDLE, or the first of `bundles`; $SSL_CERT_DIR, or the first hashed one of
    `directories`. Paths that do not exist are skipped.
    """
    named = (environ.get("SSL_CERT_FILE"), environ.get("CURL_CA_BUNDLE"))
    bundle = next((name for name in (*named, *bundles) if name and Path(name).is_file()), None)
    own = [name for name in environ.get("SSL_CERT_DIR", "").split(":") if name and Path(name).is_dir()]
    hashed = next(filter(_is_hashed, directories), None)
    distributions = bundle in bundles
    if own and own != [hashed]:
        return Trust(bundle, ":".join(own))
    if distributions or own or bundle is None:
        return Trust(bundle, hashed, same=distributions and hashed is not None)
    return Trust(bundle, None)  # the user's list alone


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


@functools.lru_cache(maxsize=64)
def read_authorities(paths: tuple[str, ...]) -> bytes:
    """Return the concatenated PEM files, for CURLOPT_CAINFO_BLOB. Raises OSError."""
    return b"\n".join(Path(path).read_bytes() for path in paths)


NetworkKind = tuple["Network", bool, bool]
"""The network of a request: the endpoint's, whether the request goes to the registry itself, whether in plain HTTP."""
_HTTP_VERSIONS = {"2": pycurl.CURL_HTTP_VERSION_2TLS, "3": pycurl.CURL_HTTP_VERSION_3}
"""HTTP/2 by ALPN, HTTP/3 where QUIC answers; else an earlier version (CURLOPT_HTTP_VERSION)."""
_IP_VERSIONS = {4: pycurl.IPRESOLVE_V4, 6: pycurl.IPRESOLVE_V6}
_ADDRESS_SIGNS = frozenset("0123456789abcdefABCDEF.:")


def network_kind(endpoint: Endpoint, url: str) -> NetworkKind:
    """Return the network of a request to `url`; each small request would pay for it, so DIRECT has none."""
    return endpoint.network, may_carry_credentials(endpoint.base_url, url), url.startswith("http://")


def own_headers(kind: NetworkKind) -> tuple[tuple[str, str], ...]:
    """Return the user's header fields for requests of this kind; other hosts than the registry's own get none."""
    return kind[0].headers if kind[1] else ()


def set_network(easy: pycurl.Curl, kind: NetworkKind) -> None:
    """Set the options of a network, except trust and header fields."""
    network, own, plain = kind
    setopt = easy.setopt
    if network.unix_socket is not None and own:
        setopt(pycurl.UNIX_SOCKET_PATH, network.unix_socket)
        setopt(pycurl.PROXY, "")  # libcurl would read the environment
        return
    proxy = network.proxy if not plain or network.plain_proxy is None else network.plain_proxy
    if proxy is not None:
        setopt(pycurl.PROXY, "" if proxy == NO_PROXY else proxy)
        setopt(pycurl.NOPROXY, network.no_proxy or "")  # libcurl would read the environment
        if proxy.startswith("https://") and (bundle := system_trust().bundle):
            setopt(pycurl.PROXY_CAINFO, bundle)
    if own and network.client_cert is not None:
        setopt(pycurl.SSLCERT, network.client_cert)
        setopt(pycurl.SSLKEY, network.client_key or network.client_cert)
        setopt(pycurl.KEYPASSWD, network.client_key_password or "")  # OpenSSL would ask at the terminal
    if network.resolve:
        setopt(pycurl.RESOLVE, list(network.resolve))
    if network.interface is not None:
        setopt(pycurl.INTERFACE, _interface(network.interface))
    if network.ip_version is not None:
        setopt(pycurl.IPRESOLVE, _IP_VERSIONS[network.ip_version])
    if network.http_version in _HTTP_VERSIONS:
        setopt(pycurl.HTTP_VERSION, _HTTP_VERSIONS[network.http_version])


def _interface(text: str) -> str:
    """Return CURLOPT_INTERFACE with its prefix, so that libcurl does not look up an interface as a host name."""
    is_address = set(text) <= _ADDRESS_SIGNS and ("." in text or ":" in text)
    return f"host!{text}" if is_address else f"if!{text}"


def set_trust(easy: pycurl.Curl, endpoint: Endpoint) -> None:
    """Trust the registry's own authorities and the system's, or, with `verify` off, any certificate."""
    setopt, system = easy.setopt, system_trust()
    if not endpoint.verify:
        setopt(pycurl.SSL_VERIFYPEER, 0)
        setopt(pycurl.SSL_VERIFYHOST, 0)
        return
    own = (endpoint.ca_file,) if endpoint.ca_file else endpoint.network.authorities
    if not own:
        if system.bundle:
            setopt(pycurl.CAINFO, system.bundle)
        if system.directory and not system.same:
            setopt(pycurl.CAPATH, system.directory)
        return
    # Reading a bundle for each connection costs 5 ms of CPU more than looking up the one certificate that is needed.
    files = (*own, system.bundle) if system.bundle and not system.same else own
    if len(files) == 1:
        setopt(pycurl.CAINFO, files[0])
    else:
        setopt(pycurl.CAINFO_BLOB, read_authorities(files))
    if system.directory:
        setopt(pycurl.CAPATH, system.directory)


_PORTS = (443, 80)
_LEAST_FOR_HTTP2 = 0x080E00
"""libcurl 8.14.0: before it, a resumed download could hang (https://github.com/curl/curl/issues/16955)."""
_CERTIFICATES = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEYS = (b"PRIVATE KEY-----",)
_KEY_MEND = "name a PEM file; where the key is in another file than its certificate, write client_key"
_PROXY_MEND = "write http://HOST:PORT, or socks5h://HOST:PORT"


class Reach:
    """Completes the networks of registries' entries.

    Proxies come from `environ`, certificates from `folders` (docker's by default); `version` is the number and the
    features of libcurl.
    """

    def __init__(
        self, environ: Mapping[str, str], folders: Sequence[str] | None = None, version: tuple[int, int] | None = None
    ) -> None:
        self._environ = environ
        self._folders = certificate_folders(environ) if folders is None else folders
        if version is None:
            info = pycurl.version_info()
            version = (info[2], info[4])
        self._version = version

    def complete(self, registry: str, network: Network, *, ca_file: str | None = None) -> Network:
        """Return the network of `registry`; `network` and `ca_file` are those of its entry.

        Raises ConfigurationError for what cannot work: a key without its password, a version of HTTP that this
        libcurl does not support, an unusable proxy in the environment.
        """
        if network.unix_socket is not None:
            return network
        network = self._with_certificates(registry, network, ca_file)
        for path in (ca_file,) if ca_file else network.authorities:
            _read_pem(registry, path, _CERTIFICATES, "certificates", "name the PEM file of the authority as ca_file")
        network = self._with_proxies(network)
        if network.resolve:
            host = recognise_host(registry).api_host or registry
            network = replace(network, resolve=_for_host(network.resolve, host))
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
            network = replace(network, http_version="2")  # few proxies pass UDP, and each try costs a request
        return replace(
            network, proxy=secure or NO_PROXY, plain_proxy=plain or NO_PROXY, no_proxy=without, environment_proxy=True
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
    """Return the texts of CURLOPT_RESOLVE; addresses without a host become those of `host`, at its port."""
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
        # libcurl checks them at the first connection, with one sentence for all faults.
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
