"""Probes of the network: the proxy, the addresses, the port, TLS and the certificate."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import Future
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pycurl

from image_syncer.doctor.checks import Check, failed, fine, skipped, warned
from image_syncer.errors import Origin
from image_syncer.net import transport_error
from image_syncer.registry import NO_PROXY, build_ping, origin_of, shown_proxy
from image_syncer.units import format_duration
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.doctor.checks import Certificate, Connection, Subject
    from image_syncer.errors import TransportError


_SPELLING = "Check the spelling of the host, and the name servers of this machine (/etc/resolv.conf)."
_LISTENING = "Check that the registry runs, its port, and the firewall between."
_PROXY_LISTENING = "Check that the proxy runs, and its port; it comes from {where}."
_ENVIRONMENT, _ENTRY = "the environment", "the registry's entry"
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}
_MOST_SHOWN = 6
_MOST_NAMES = 6
_DAY_S = 86400
_SOON_S = 14 * _DAY_S
"""A warning; programs renew certificates earlier."""
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


async def probe_way(subject: Subject) -> Check:
    """Find the proxy of this host and check that it connects; choose the registry's address (`insecure`) as a run."""
    for candidate in subject.candidates:
        subject.endpoint = candidate
        seen = await subject.connect()
        if seen.code == 0:
            break
    network = subject.endpoint.network
    proxy = network.proxy_for(subject.endpoint.base_url)
    if not seen.uses_proxy or proxy is None:
        kept = network.environment_proxy and proxy not in (None, NO_PROXY)
        return fine("none is used" + (", because no_proxy names the host" if kept else ""), proxy=None)
    shown, where = shown_proxy(proxy), _whose(subject)
    facts: dict[str, Any] = {"proxy": shown, "comes_from": where}
    if seen.code and not seen.reached:
        return failed(_error(subject, seen), proxy_status=seen.proxy_status or None, **facts)
    return fine(f"{shown}, from {where}, connects", **facts)


async def probe_addresses(subject: Subject) -> Check:
    """Resolve the host of the registry, or of the proxy."""
    host, port, whose = _next_hop(subject)
    network = subject.endpoint.network
    seconds = subject.transport.timeouts.connect_s
    given = [] if whose else _given_addresses(network.resolve, host, port)
    try:
        found = given or await asyncio.wait_for(_look_up(host, port, _FAMILIES[network.ip_version]), seconds)
    except asyncio.TimeoutError:
        return failed(f"the name servers say nothing about {host} for {seconds:g} s", _SPELLING, host=host)
    except OSError as error:
        text = f"{whose}{host} has no address: {error.strerror or error}"
        return failed(text, _SPELLING, host=host, code=error.errno)
    subject.learnt.addresses = found
    names = [address for address, _ in found]
    said = ", as `resolve` of the registry's entry says" if given else ""
    return fine(f"{whose}{host} is {_shown(names)}{said}", host=host, addresses=names)


async def probe_listening(subject: Subject) -> Check:
    """Connect to each of the addresses."""
    seconds = subject.transport.timeouts.connect_s
    found = subject.learnt.addresses
    said = await asyncio.gather(*(_try_connect(address, port, seconds) for address, port in found))
    port = found[0][1]
    dead = [f"{address} ({why})" for (address, _), why in zip(found, said, strict=True) if why is not None]
    facts: dict[str, Any] = {"port": port, "addresses": len(found), "dead": dead}
    if len(dead) == len(found):
        seen = subject.learnt.connection
        cure = _PROXY_LISTENING.format(where=_whose(subject)) if seen and seen.uses_proxy else _LISTENING
        return failed(f"port {port} takes no connections at {_shown(dead)}", cure, **facts)
    if dead:
        alive = len(found) - len(dead)
        text = f"port {port} takes connections at {alive} of {len(found)} addresses, not at {_shown(dead)}"
        if subject.is_on_loopback:  # localhost has two addresses, and servers often listen on one
            return fine(text, **facts)
        return warned(text, "Each connection may try these addresses first: have the dead ones removed.", **facts)
    return fine(f"port {port} takes connections", **facts)


def _whose(subject: Subject) -> str:
    return _ENVIRONMENT if subject.endpoint.network.environment_proxy else _ENTRY


def _next_hop(subject: Subject) -> tuple[str, int, str]:
    seen, base_url = subject.learnt.connection, subject.endpoint.base_url
    proxy = subject.endpoint.network.proxy_for(base_url) if seen is not None and seen.uses_proxy else None
    if proxy is not None:
        host, _, port = proxy.rpartition("@")[2].rpartition("//")[2].rpartition(":")
        return host.strip("[]"), int(port), "the proxy "
    origin = origin_of(base_url)
    assert origin is not None
    return origin[1].strip("[]"), origin[2], ""


def _given_addresses(resolve: tuple[str, ...], host: str, port: int) -> list[tuple[str, int]]:
    """Return the addresses that the user has configured, as libcurl reads them (CURLOPT_RESOLVE)."""
    for text in resolve:
        for name in (host, f"[{host}]"):
            prefix = f"{name}:{port}:"
            if text.removeprefix("+").startswith(prefix):
                addresses = text.removeprefix("+")[len(prefix) :].split(",")
                return [(address.strip("[]"), port) for address in addresses]
    return []


async def _look_up(host: str, port: int, family: int) -> list[tuple[str, int]]:
    """Call `getaddrinfo` in a daemon thread, which may hang without keeping the process."""
    found: Future[list[tuple[str, int]]] = Future()

    def ask() -> None:
        found.set_running_or_notify_cancel()
        try:
            answers = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys((str(address[0]), port) for *_, address in answers)))
        except (OSError, UnicodeError) as error:
            found.set_exception(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=ask, daemon=True).start()
    return await asyncio.wrap_future(found)


async def _try_connect(address: str, port: int, seconds: float) -> str | None:
    """Return why a connection failed, or None."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), seconds)
    except asyncio.TimeoutError:
        return f"silent for {seconds:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    writer.close()
    return None


def _shown(names: list[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


async def probe_tls(subject: Subject) -> Check:
    """Check that the two sides agree on a version of TLS."""
    seen = subject.learnt.connection
    assert seen is not None
    if subject.endpoint.base_url.startswith("http://"):
        what = "none: the registry is spoken to in plain HTTP, as `insecure` allows"
        if subject.is_on_loopback:
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
        if lacks_certificate(subject):
            agreed = warned(
                f"{agreed.what}; a client's certificate is asked for, and there is none", OWN_WANTED, **facts
            )
        return replace(agreed, seconds=seen.tls_s - seen.connected_s if seen.tls_s else None)
    if seen.code == 0:
        return fine("agreed on")
    error = _error(subject, seen)
    if lacks_certificate(subject):
        return failed(error, OWN_WANTED)
    is_old = any(sign in seen.words.lower() for sign in _OLD_SIGNS)
    return failed(error, _OLD if is_old else None)


def lacks_certificate(subject: Subject) -> bool:
    """Return whether the registry asks for a client certificate that its entry does not name."""
    seen = subject.learnt.connection
    return seen is not None and seen.wants_certificate and subject.endpoint.network.client_cert is None


async def probe_certificate(subject: Subject) -> Check:
    """Check that the certificate is trusted, and for how long."""
    seen = subject.learnt.connection
    assert seen is not None
    if subject.endpoint.base_url.startswith("http://"):
        return skipped("none is needed in plain HTTP")
    own = seen.certificates[0] if seen.certificates else None
    facts = _facts(seen.certificates)
    origin = origin_of(subject.endpoint.base_url)
    host = origin[1] if origin else subject.registry
    now = datetime.fromtimestamp(time.time(), timezone.utc)
    if seen.code in _NOT_BELIEVED:
        return _not_believed(seen.words, seen.certificates, host, now, facts)
    if seen.code:
        return failed(_error(subject, seen), **facts)
    if own is None:
        return fine("believed", **facts)
    until = f"by {own.issuer}, {_until(own, now)}"
    if not subject.endpoint.verify:
        return warned(
            f"taken without a look, as the auth file says: {own.subject}, {until}",
            "Leave insecure and skip_tls_verify out where the certificate is good; give its authority as ca_file.",
            **facts,
        )
    if own.ends is not None and (own.ends - now).total_seconds() < _SOON_S:
        return warned(f"believed: {own.subject}, {until}", "Have it renewed in time.", **facts)
    return fine(f"believed: {own.subject}, {until}", **facts)


def _error(subject: Subject, seen: Connection) -> TransportError:
    request = build_ping(subject.endpoint)
    return transport_error(seen.code, seen.words, request, Origin.LOCAL, subject.endpoint.network)


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
    text = f"no authority that this machine trusts has signed it: {own.subject}, by {own.issuer} ({_reason(words)})"
    top = chain[-1].issuer
    cure = _INTERMEDIATE.format(issuer=top) if len(chain) > 1 else _ALONE.format(issuer=top)
    return failed(text, cure, **facts)


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
    all_facts = [{"subject": each.subject, "issuer": each.issuer, "ends": _iso(each.ends)} for each in chain]
    if not chain:
        return {"chain": all_facts}
    own = chain[0]
    facts = {"names": list(own.names), "begins": _iso(own.begins), "ends": _iso(own.ends), "chain": all_facts}
    return {"subject": own.subject, "issuer": own.issuer, **facts}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
