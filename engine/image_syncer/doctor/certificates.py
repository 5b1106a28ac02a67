"""TLS: whether it was agreed on, whether the certificate is believed, for which names it is, and until when."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pycurl

from image_syncer.doctor.check import Check, failed, fine, skipped, warned
from image_syncer.errors import Origin
from image_syncer.net import transport_error
from image_syncer.registry import build_ping, origin_of
from image_syncer.units import format_duration
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.doctor.connection import Certificate, Connection
    from image_syncer.doctor.examined import Subject
    from image_syncer.errors import TransportError

__all__ = ["OWN_WANTED", "lacks_certificate", "probe_certificate", "probe_tls"]

_DAY_S = 86400
_SOON_S = 14 * _DAY_S
"""A certificate that ends sooner is told: those that are renewed by programs live longer than that when it happens."""
_NOT_BELIEVED = (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_ISSUER_ERROR)
_OLD_SIGNS = ("alert protocol version", "unsupported protocol", "version too low")
OWN_WANTED = "Where the registry does not let you in without it, give client_cert and client_key in its entry."
_OLD = "The registry speaks only old versions of TLS, which are not safe: have TLS 1.2 or later switched on there."
_RENEW = "Have the certificate of the registry renewed; if it should be good, check the clock of this machine."
_CLOCK = "Set the clock of this machine: it seems to be behind."
_NAME = "Write the registry by a name that is in its certificate, or have the certificate made out for {host} too."
_INTERMEDIATE = "Give the PEM file of the authority {issuer!r} as ca_file for this registry in the auth file."
_ALONE = (
    "Give the PEM file of the authority {issuer!r} as ca_file for this registry in the auth file. The registry sends "
    "this one certificate alone: where those between it and a public authority are missing, have it send them too."
)
_SELF_SIGNED = "Give the PEM file of this very certificate as ca_file for this registry in the auth file."


async def probe_tls(examined: Subject) -> Check:
    """Whether the two sides agree on TLS at all."""
    seen = examined.learnt.connection
    assert seen is not None
    if examined.endpoint.base_url.startswith("http://"):
        what = "none: the registry is spoken to in plain HTTP, as `insecure` allows"
        if examined.is_on_loopback:
            return fine(what)
        return warned(what, "Passwords and tokens go over the network in the clear: have the registry speak TLS.")
    if seen.protocol is not None:
        cipher = f", {seen.cipher}" if seen.cipher else ""
        facts: dict[str, Any] = {
            "protocol": seen.protocol,
            "cipher": seen.cipher,
            "wants_certificate": seen.wants_certificate,
        }
        agreed = fine(f"{seen.protocol}{cipher}", **facts)
        if lacks_certificate(examined):
            agreed = warned(
                f"{agreed.what}; a client's certificate is asked for, and there is none", OWN_WANTED, **facts
            )
        return replace(agreed, seconds=seen.tls_s - seen.connected_s if seen.tls_s else None)
    if seen.code == 0:
        return fine("agreed on")
    error = _error(examined, seen)
    if lacks_certificate(examined):
        return failed(error, OWN_WANTED)
    is_old = any(sign in seen.words.lower() for sign in _OLD_SIGNS)
    return failed(error, _OLD if is_old else None)


def lacks_certificate(examined: Subject) -> bool:
    """Whether the registry asks for a client's certificate, and its entry names none."""
    seen = examined.learnt.connection
    return seen is not None and seen.wants_certificate and examined.endpoint.network.client_cert is None


async def probe_certificate(examined: Subject) -> Check:
    """Whether the certificate is believed, and how long it will be."""
    seen = examined.learnt.connection
    assert seen is not None
    if examined.endpoint.base_url.startswith("http://"):
        return skipped("none is needed in plain HTTP")
    own = seen.certificates[0] if seen.certificates else None
    facts = _facts(seen.certificates)
    origin = origin_of(examined.endpoint.base_url)
    host = origin[1] if origin else examined.registry
    now = datetime.fromtimestamp(time.time(), timezone.utc)
    if seen.code in _NOT_BELIEVED:
        return _not_believed(seen.words, seen.certificates, host, now, facts)
    if seen.code:
        return failed(
            transport_error(
                seen.code, seen.words, build_ping(examined.endpoint), Origin.LOCAL, examined.endpoint.network
            ),
            **facts,
        )
    if own is None:
        return fine("believed", **facts)
    until = f"by {own.issuer}, {_until(own, now)}"
    if not examined.endpoint.verify:
        return warned(
            f"taken without a look, as the auth file says: {own.subject}, {until}",
            "Leave insecure and skip_tls_verify out where the certificate is good; give its authority as ca_file.",
            **facts,
        )
    if own.ends is not None and (own.ends - now).total_seconds() < _SOON_S:
        return warned(f"believed: {own.subject}, {until}", "Have it renewed in time.", **facts)
    return fine(f"believed: {own.subject}, {until}", **facts)


def _error(examined: Subject, seen: Connection) -> TransportError:
    request = build_ping(examined.endpoint)
    return transport_error(seen.code, seen.words, request, Origin.LOCAL, examined.endpoint.network)


def _not_believed(words: str, chain: tuple[Certificate, ...], host: str, now: datetime, facts: dict[str, Any]) -> Check:
    if not chain:
        return failed(f"it is not believed: {words}", None, **facts)
    own = chain[0]
    if own.ends is not None and own.ends < now:
        return failed(f"it has expired: {own.subject}, {_until(own, now)}", _RENEW, cause="expired", **facts)
    if own.begins is not None and own.begins > now:
        text = f"it is not good before {own.begins:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M} UTC"
        return failed(text, _CLOCK, cause="not yet valid", **facts)
    if "no alternative certificate subject name" in words or "subject name" in words:
        names = ", ".join(own.names[:_MOST_NAMES]) or own.subject
        return failed(f"it is for {names}, and not for {host}", _NAME.format(host=host), cause="name", **facts)
    if "expired" in words:
        ended = next((each.subject for each in chain[1:] if each.ends is not None and each.ends < now), "one above it")
        return failed(f"a certificate of its chain has expired: {ended}", _RENEW, cause="expired", **facts)
    facts["cause"] = "authority"
    if own.subject == own.issuer:
        return failed(f"it is signed by itself: {own.subject}", _SELF_SIGNED, **facts)
    text = f"nobody whom this machine trusts has signed it: {own.subject}, by {own.issuer} ({_reason(words)})"
    top = chain[-1].issuer
    cure = _INTERMEDIATE.format(issuer=top) if len(chain) > 1 else _ALONE.format(issuer=top)
    return failed(text, cure, **facts)


_MOST_NAMES = 6


def _reason(words: str) -> str:
    return words.rpartition("verify result: ")[2] or words


def _until(own: Certificate, now: datetime) -> str:
    if own.ends is None:
        return "without an end"
    left_s = (own.ends - now).total_seconds()
    day = f"{own.ends:%Y-%m-%d}"
    if left_s < 0:
        return f"since {day} ({_rough(-left_s)} ago)"
    return f"good until {day} ({_rough(left_s)})"


def _rough(seconds: float) -> str:
    days = int(seconds // _DAY_S)
    if days:
        return f"{days} day{'' if days == 1 else 's'}"
    return format_duration(seconds)


def _facts(chain: tuple[Certificate, ...]) -> dict[str, Any]:
    told = [{"subject": each.subject, "issuer": each.issuer, "ends": _iso(each.ends)} for each in chain]
    if not chain:
        return {"chain": told}
    own = chain[0]
    return {
        "subject": own.subject,
        "issuer": own.issuer,
        "names": list(own.names),
        "begins": _iso(own.begins),
        "ends": _iso(own.ends),
        "chain": told,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
