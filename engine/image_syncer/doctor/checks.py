"""Checks: the results of probes, and the subject that they examine, with its connection and what is learnt of it.

A connection is one that libcurl makes for a run, without a request (CURLOPT_CONNECT_ONLY). libcurl reports the version
of TLS only in its log (CURLOPT_VERBOSE), and the certificates (CURLOPT_CERTINFO) even if they are not trusted.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pycurl
from msgspec import Struct, field

from image_syncer.credentials import CredentialSource
from image_syncer.discovery.credential_lookup import CredentialLookup
from image_syncer.errors import Origin, redact
from image_syncer.net import (
    CurlDriver,
    Reach,
    RegistryClient,
    RetryRules,
    Throttle,
    Timeouts,
    TokenBroker,
    Transport,
    endpoints_of,
    set_connection,
)
from image_syncer.oci import Repository
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import GENERIC, build_ping, may_carry_credentials, parse_failure, recognise_answer
from image_syncer.scheduling import ONCE
from image_syncer.values import TextEnum, Value, as_dict, replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from image_syncer.config import RegistryBook, Settings
    from image_syncer.errors import RegistryError, SyncError
    from image_syncer.net import Authorization
    from image_syncer.oci import Manifest
    from image_syncer.registry import Challenge, Endpoint, Headers, Profile, Request, Response


_TEXT = 0
_CERTIFICATE_WANTED = "TLS handshake, Request CERT"
_QUIC = "3"
_USED_PROXY = 0x200000 + 66
"""CURLINFO_USED_PROXY of libcurl's ABI, which not every PycURL names."""
_TLS = lazy_pattern(r"SSL connection using (\S+)(?: / (\S+))?")
_ESCAPED = lazy_pattern(rb"\\([89A-F][0-9A-F])")
_DATE_FORMATS = ("%b %d %H:%M:%S %Y GMT", "%Y-%m-%d %H:%M:%S GMT")
_TLS_CODES = (
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_CIPHER,
    pycurl.E_SSL_ISSUER_ERROR,
)


class Certificate(Value, frozen=True):
    """The fields of a certificate; `names` are its host names (subjectAltName)."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime | None
    ends: datetime | None


class Connection(Value, frozen=True):
    """The result of a connection: libcurl's CURLcode (0: connected) and message; times in seconds from the begin, or 0.

    `proxy_status` is a proxy's answer to CONNECT. `wants_certificate`: the registry asked for a client certificate.
    """

    code: int
    words: str
    uses_proxy: bool
    proxy_status: int
    protocol: str | None
    cipher: str | None
    wants_certificate: bool
    certificates: tuple[Certificate, ...]
    connected_s: float
    tls_s: float

    @property
    def reached(self) -> bool:
        """Whether the registry was reached, even if TLS failed."""
        return self.code == 0 or self.protocol is not None or self.code in _TLS_CODES


def parse_account(log: Sequence[str]) -> tuple[str | None, str | None, bool]:
    """Return the TLS version, the cipher, and whether a client certificate was requested, from libcurl's log."""
    found = next(filter(None, map(_TLS.match, log)), None)
    wants = any(_CERTIFICATE_WANTED in line for line in log)
    return (found[1], found[2], wants) if found else (None, None, wants)


def parse_certificates(chain: Sequence[Sequence[tuple[bytes, bytes]]]) -> tuple[Certificate, ...]:
    """Return the certificates of CURLINFO_CERTINFO, the server's own first."""
    return tuple(_certificate({_text(name): _text(value) for name, value in fields}) for fields in chain)


def _text(data: bytes) -> str:
    """Decode text with the escapes of OpenSSL (X509_NAME_print_ex(3), ASN1_STRFLGS_ESC_MSB)."""
    data = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), data)
    return data.decode("utf-8", "replace")


def _certificate(fields: dict[str, str]) -> Certificate:
    names = fields.get("X509v3 Subject Alternative Name", "")
    return Certificate(
        subject=fields.get("Subject", ""),
        issuer=fields.get("Issuer", ""),
        names=tuple(part.partition(":")[2].strip() for part in names.split(",") if ":" in part),
        begins=_date(fields.get("Start date", "")),
        ends=_date(fields.get("Expire date", "")),
    )


def _date(text: str) -> datetime | None:
    """Parse a date of libcurl, which has OpenSSL's format or, in older versions, another one."""
    text = " ".join(text.split())
    form = _DATE_FORMATS[text[:1].isdigit()]
    try:
        return datetime.strptime(text, form).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _used_proxy(easy: pycurl.Curl, log: Iterable[str]) -> bool:
    try:
        return bool(easy.getinfo(_USED_PROXY))
    except (pycurl.error, ValueError):  # libcurl before 8.7 reports tunnels only in its log
        return any("proxy" in line for line in log)


_ERROR_FACTS = ("status", "codes", "phase", "curl_code")  # for programs


class CheckState(TextEnum):
    """The end of a check: FAILED prevents a run, a WARNING does not; SKIPPED was not wanted or is not supported,
    NOT_TRIED depends on a failed check.
    """

    OK = "ok"
    FAILED = "failed"
    WARNING = "warning"
    SKIPPED = "skipped"
    NOT_TRIED = "not tried"


class Check(Value, frozen=True):
    """One line of the checklist: its `name` and `state`, `what` was found and, if there is one, the `cure`.

    `seconds` is the duration, `size_bytes` the transferred bytes. `facts` are for programs.
    """

    name: str
    state: CheckState
    what: str
    cure: str | None = None
    seconds: float | None = None
    size_bytes: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_broken(self) -> bool:
        """Whether dependent checks cannot be tried."""
        return self.state in (CheckState.FAILED, CheckState.NOT_TRIED)

    def as_data(self) -> dict[str, Any]:
        """Return plain data for programs; times in seconds, sizes in bytes."""
        seconds = None if self.seconds is None else round(self.seconds, 4)
        return {**as_dict(self), "state": self.state.value, "seconds": seconds, "facts": dict(self.facts)}


def fine(what: str, *, size_bytes: int | None = None, **facts: Any) -> Check:
    """Return a passed check. The examination sets the names and times of checks."""
    return Check("", CheckState.OK, redact(what), size_bytes=size_bytes, facts=facts)


def warned(what: str, cure: str | None = None, **facts: Any) -> Check:
    """Return a check with a warning."""
    return Check("", CheckState.WARNING, redact(what), cure, facts=facts)


def skipped(what: str, **facts: Any) -> Check:
    """Return a check that was not wanted or is not supported."""
    return Check("", CheckState.SKIPPED, redact(what), facts=facts)


def failed(what: str | SyncError, cure: str | None = None, **facts: Any) -> Check:
    """Return a failed check, with the message and hint of an error."""
    if isinstance(what, str):
        return Check("", CheckState.FAILED, redact(what), cure, facts=facts)
    data = {"kind": what.kind, **{name: value for name in _ERROR_FACTS if (value := getattr(what, name, None))}}
    return Check("", CheckState.FAILED, what.message, cure or what.hint, facts={"error": data, **facts})


_COMPARED = (
    ("head_manifest", "heads_manifests", "answers HEAD for manifests"),
    ("mount", "mounts_from_itself", "mounts a blob of the same repository"),
    ("patch_pieces", "takes_pieces", "takes a blob in pieces"),
    ("cancel", "cancels_uploads", "lets an upload be given up"),
)
"""The fact that a probe learns, the field of a profile for it, and both in words."""
_SEEN_IN_SMALL = frozenset({"patch_pieces"})
"""A success with a few bytes does not prove one with many."""
_REPORT = "Please report it: what image-syncer knows of this kind of registry may be out of date."


async def probe_profile(subject: Subject) -> Check:
    """Compare the registry with the profile that a run has for it."""
    profile, mark = subject.profile, subject.learnt.recognised_by or f"by the host {subject.registry}"
    if subject.registries.host_settings(subject.registry).profile is not None:
        mark = "as the auth file says"
    facts: dict[str, Any] = {"profile": profile.name, "learnt": dict(subject.learnt.facts)}
    differences = find_differences(profile, subject.learnt.facts)
    facts["differences"] = differences
    if profile is GENERIC:
        return fine(f"of no kind that is known: {profile.title}", **facts)
    what = f"{profile.title}, {mark}"
    if differences:
        return warned(f"{what}; but it {'; it '.join(differences)}", _REPORT, **facts)
    return fine(what, **facts)


def find_differences(profile: Profile, learnt: Mapping[str, Any]) -> list[str]:
    """Return the contradictions between the `learnt` facts and `profile`, in words."""
    found = []
    for fact, key, words in _COMPARED:
        expected, seen = getattr(profile, key, None), learnt.get(fact)
        if not isinstance(expected, bool) or not isinstance(seen, bool) or expected is seen:
            continue
        if not seen or fact not in _SEEN_IN_SMALL:
            found.append(f"{words}, as that kind does not" if seen else f"does not do what that kind does: it {words}")
    return found


def find_mark(profile: Profile, headers: Headers) -> str | None:
    """Return the mark of `profile` in an answer, in words, or None."""
    for mark in profile.marks:
        if any(fnmatchcase(value.lower(), mark.value) for value in headers.get_all(mark.header)):
            return f"by its header {mark.header}"
    return None


SIDE = Origin.LOCAL
"""A subject is neither source nor destination."""


class LearntFacts(Struct):
    """The results of probes for later ones."""

    connection: Connection | None = None
    addresses: list[tuple[str, int]] = field(default_factory=list)
    ping: Response | None = None
    asked_at_epoch_s: float = 0.0
    challenge: Challenge | None = None
    authorization: Authorization | None = None
    tags: tuple[str, ...] = ()
    manifest: Manifest | None = None
    head: Response | None = None
    recognised_by: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts by name, for programs and for the comparison with a profile."""


class Subject:
    """A registry, or its repository `name`, with the `target` (tag or digest). Requests are not repeated."""

    def __init__(
        self,
        registry: str,
        name: str | None,
        target: str | None,
        registries: RegistryBook,
        settings: Settings,
        *,
        write: bool,
    ) -> None:
        self.registry = registry
        self.repository = Repository(registry, name) if name else None
        self.target = target
        self.write = write
        self.learnt = LearntFacts()
        self.settings = settings
        self.registries = registries
        self.candidates = endpoints_of(registry, registries.host_settings(registry), Reach(os.environ))
        self.endpoint: Endpoint = self.candidates[0]
        self.driver = CurlDriver()
        timeouts = Timeouts(
            connect_s=settings.connect_timeout_s,
            stall_s=settings.stall_timeout_s,
            request_s=settings.answer_timeout_s,
        )
        self.transport = Transport(self.driver, timeouts)
        self.transport.on_answer = self._look_at
        self._source = CredentialSource(os.environ)
        self.credentials = CredentialLookup(self._source, registries)
        self.broker = TokenBroker(self.transport, self.credentials)
        self.client = RegistryClient(
            self.transport, self.broker, Throttle(), RetryRules(ONCE, random.random, patience_s=0.0)
        )

    @property
    def profile(self) -> Profile:
        """The profile of the registry, by its name, by the user's entry, or by its answers."""
        return self.endpoint.profile

    def _look_at(self, request: Request, endpoint: Endpoint, response: Response) -> None:
        """Recognise the registry by its answer if its name does not identify it, as a run does."""
        own = may_carry_credentials(endpoint.base_url, response.url or request.url)
        unknown = self.profile is GENERIC and self.registries.host_settings(self.registry).profile is None
        if own and unknown:
            found = recognise_answer(response.headers)
            if found is not GENERIC:
                self.endpoint = replace(self.endpoint, profile=found)
                self.learnt.recognised_by = find_mark(found, response.headers)

    @property
    def credential_location(self) -> Repository:
        """The repository, or the whole registry, for which credentials are looked up."""
        return self.repository or Repository(self.registry, "")

    @property
    def is_on_loopback(self) -> bool:
        """Whether all known addresses are on this machine."""
        found = self.learnt.addresses
        return bool(found) and all(address.startswith("127.") or address == "::1" for address, _ in found)

    async def connect(self) -> Connection:
        """Connect as a run would, and close the connection again; the result is noted."""
        easy, endpoint, connect_timeout_s = pycurl.Curl(), self.endpoint, self.transport.timeouts.connect_s
        log: list[str] = []

        def listen(kind: int, data: bytes) -> None:
            if kind == _TEXT:
                log.append(data.decode("utf-8", "replace").strip())

        try:
            set_connection(easy, endpoint, build_ping(endpoint).url, connect_timeout_s=connect_timeout_s)
            easy.setopt(pycurl.CONNECT_ONLY, 1)
            if endpoint.network.http_version == _QUIC:
                easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # CONNECT_ONLY needs TCP
            easy.setopt(pycurl.OPT_CERTINFO, 1)
            easy.setopt(pycurl.FRESH_CONNECT, 1)
            easy.setopt(pycurl.VERBOSE, 1)
            easy.setopt(pycurl.DEBUGFUNCTION, listen)
            code, words = await self.driver.perform(easy)
            protocol, cipher, wants_certificate = parse_account(log)
            self.learnt.connection = Connection(
                code=code,
                words=words,
                uses_proxy=_used_proxy(easy, log),
                proxy_status=easy.getinfo(pycurl.HTTP_CONNECTCODE),
                protocol=protocol,
                cipher=cipher,
                wants_certificate=wants_certificate,
                certificates=parse_certificates(easy.getinfo_raw(pycurl.INFO_CERTINFO)),
                connected_s=easy.getinfo(pycurl.CONNECT_TIME),
                tls_s=easy.getinfo(pycurl.APPCONNECT_TIME),
            )
            return self.learnt.connection
        finally:
            easy.close()

    async def exchange(self, request: Request) -> Response:
        """Send `request` once, as a run does, and return any answer."""
        return await self.client.exchange(request, self.endpoint, origin=SIDE)

    async def ask(self, request: Request, accept: Collection[int] = (200,)) -> Response:
        """Send `request` once, and return the answer if its status is in `accept`; else raise its error."""
        response = await self.exchange(request)
        if response.status not in accept:
            raise self.failure(response, request)
        return response

    def failure(self, response: Response, request: Request) -> RegistryError:
        """Return the error for an unwanted answer."""
        return parse_failure(response, request=request, origin=SIDE, now_epoch_s=time.time(), profile=self.profile)

    async def close(self) -> None:
        """Cancel running requests, without waiting for a credential helper or a name server."""
        self._source.close()
        self.driver.close()
        await asyncio.sleep(0)
