"""Who we are to the registry: its greeting, the clocks, what it asks for, the credential, the token."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from image_syncer.doctor.certificates import OWN_WANTED, lacks_certificate
from image_syncer.doctor.check import Check, failed, fine, skipped, warned
from image_syncer.doctor.claims import read_claims
from image_syncer.errors import TransportError
from image_syncer.net.token_broker import USABLE_PART
from image_syncer.registry import (
    NO_REGISTRY_HINT,
    REDIRECT_STATUSES,
    build_ping,
    is_page,
    origin_of,
    parse_challenges,
    pull_scope,
    rank_challenges,
    without_query,
)
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from image_syncer.credentials import Found
    from image_syncer.doctor.examined import Subject
    from image_syncer.registry import Response

__all__ = ["probe_challenge", "probe_clock", "probe_credential", "probe_login", "probe_ping"]

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _PROXY_WANTS_PASSWORD, _TOO_MANY = 200, 401, 403, 404, 407, 429
CLOCKS_APART_S = 60.0
"""More is told: the seconds of the answer and of the way are less, and tokens that are good for a minute are not."""
CLOCKS_BROKEN_S = 300.0
"""More breaks a run: tokens and signed addresses hold for some minutes, and no service forgives more."""
SHORT_TOKEN_S = 10.0
"""A token that ends sooner is over before it is used, where the way is slow."""

_CLOCK = (
    "Set the clock of this machine by a time server (timedatectl, chronyc), or have the registry's set: tokens and "
    "signed addresses are good for minutes only."
)
_REFUSED_HERE = "Something in front of the registry turns this machine away: ask who runs it, or use another network."
_PROXY = "The proxy answers in place of the registry: see that it lets us through, or name the host in no_proxy."
_NO_API = "There is no registry at this address, or one that only speaks version 1: check the host and its port."
_CORRECT_LOGIN = "Correct the password, or log in again; the credentials came from {source}."
_DISAGREED = (
    "The registry and its token service do not agree: their clocks may differ, or the registry may not trust the "
    "service (its key, issuer or service name). Whoever runs them has to look."
)


async def probe_ping(examined: Subject) -> Check:
    """What `/v2/` says (OCI distribution specification 1.1, section "Determining support"), without a credential."""
    request = build_ping(examined.endpoint)
    before = time.time()
    try:
        response = await examined.transport.perform(request, examined.endpoint)
    except TransportError as cut:
        # With TLS 1.3 the handshake is over before the registry misses a certificate of ours (RFC 8446, section 2).
        return failed(cut, OWN_WANTED if lacks_certificate(examined) else None)
    examined.learnt.asked_at_epoch_s = (before + time.time()) / 2
    examined.learnt.ping = response
    status = response.status
    facts: dict[str, Any] = {
        "status": status,
        "version": response.headers.get("Docker-Distribution-Api-Version"),
        "server": response.headers.get("Server"),
    }
    seen = examined.learnt.connection
    plain_proxy = seen is not None and seen.uses_proxy and request.url.startswith("http://")
    if status == _PROXY_WANTS_PASSWORD or (plain_proxy and status == _FORBIDDEN):
        return failed(f"the proxy answered {status}", _PROXY, **facts)
    if status == _OK and is_page(response):
        return failed("a web page came for an answer: there is no registry", NO_REGISTRY_HINT, **facts)
    if status in (_OK, _UNAUTHORIZED):
        server = f" by {facts['server']}" if facts["server"] else ""
        return fine(f"answered {status}{server}", **facts)
    if status in REDIRECT_STATUSES:
        target = without_query(response.headers.get("Location", "nowhere"))
        return failed(f"answered {status}, and sends us to {target}", "Write the registry by that host.", **facts)
    error = examined.failure(response, request)
    if error.retryable and status == _TOO_MANY:
        return warned(error.message, error.hint, **facts)
    cures = {_FORBIDDEN: _REFUSED_HERE, _NOT_FOUND: _NO_API}
    return failed(error, cures.get(status), **facts)


async def probe_clock(examined: Subject) -> Check:
    """Whether the registry's clock (RFC 9110, section 6.6.1, `Date`) says what ours says."""
    ping = examined.learnt.ping
    assert ping is not None
    text = ping.headers.get("Date")
    try:
        theirs = parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return skipped("the registry does not say what time it is")
    apart_s = examined.learnt.asked_at_epoch_s - theirs
    facts: dict[str, Any] = {"apart_s": round(apart_s, 1)}
    if abs(apart_s) <= CLOCKS_APART_S:
        return fine("it goes as the registry's does, within a minute", **facts)
    side = "ahead of" if apart_s > 0 else "behind"
    what = f"the clock of this machine is {format_duration(abs(apart_s))} {side} the registry's"
    return (failed if abs(apart_s) > CLOCKS_BROKEN_S else warned)(what, _CLOCK, **facts)


async def probe_challenge(examined: Subject) -> Check:
    """What the registry asks for (RFC 9110, section 11.6.1)."""
    ping = examined.learnt.ping
    assert ping is not None
    if ping.status != _UNAUTHORIZED:
        return fine("none: anybody may knock", scheme=None)
    values = ping.headers.get_all("WWW-Authenticate")
    facts: dict[str, Any] = {}
    challenge = examined.learnt.challenge = next(iter(rank_challenges(parse_challenges(values))), None)
    if challenge is None:
        said = f"only {', '.join(sorted({each.scheme for each in parse_challenges(values)}))}" if values else "not how"
        text = f"the registry wants to know who we are, and says {said}"
        return failed(text, "A proxy may have taken the header WWW-Authenticate away, or this is no registry.")
    if challenge.scheme == "basic":
        facts = {"scheme": "basic", "realm": challenge.params.get("realm")}
        if examined.endpoint.base_url.startswith("http://") and not examined.is_on_loopback:
            return warned("a user name and a password, which go in the clear", "Have the registry speak TLS.", **facts)
        return fine("a user name and a password (Basic)", **facts)
    realm, service = without_query(challenge.params.get("realm", "")), challenge.params.get("service")
    facts = {"scheme": "bearer", "realm": realm, "service": service}
    origin = origin_of(realm)
    if origin is None:
        return failed(
            f"a token of {realm[:120]!r}, which is no address", "Whoever runs the registry has to set its realm."
        )
    return fine(f"a token of {realm}" + (f" for {service}" if service else ""), **facts)


async def probe_credential(examined: Subject) -> Check:
    """Whose name and password a run would use, and where they come from."""
    found = await examined.credentials.find(examined.place)
    credential, source = found.credential, found.source
    if credential is None:
        return fine("no credentials; anonymous", source=source)
    who = "an identity token" if credential.identity_token else f"the user {credential.username!r}"
    return fine(f"{who}, from {source}", source=source, user=credential.username or None)


async def probe_login(examined: Subject) -> Check:
    """Whether the registry, or its token service, takes the credential; and the registry the token."""
    challenge, ping = examined.learnt.challenge, examined.learnt.ping
    assert ping is not None
    found = await examined.credentials.find(examined.place)
    if challenge is None:
        examined.broker.answered(examined.endpoint)
        return skipped("not asked for here; what wants it shows below")
    scopes = (pull_scope(examined.repository),) if examined.repository else ()
    given = await examined.broker.renew(
        examined.endpoint, examined.place, scopes, None, ping.headers.get_all("WWW-Authenticate")
    )
    examined.learnt.authorization = given
    if challenge.scheme == "basic":
        return await _try_password(examined, given.value, found)
    seconds = given.usable_s / USABLE_PART
    claims = read_claims(given.value)
    facts: dict[str, Any] = {"lifetime_s": round(seconds, 1)}
    answer = await examined.transport.perform(
        build_ping(examined.endpoint), examined.endpoint, authorization=given.value
    )
    if answer.status == _UNAUTHORIZED and _is_invalid(answer):
        when = claims.trouble(time.time()) if claims else None
        text = "the registry refuses the token that its token service has just given"
        return failed(f"{text}: {when}" if when else text, _CLOCK if when else _DISAGREED, **facts)
    what = f"a token, good for {format_duration(seconds)}" + ("" if found.credential else ", for nobody in particular")
    if seconds < SHORT_TOKEN_S:
        return warned(what, "Have the token service give tokens that last a minute or more.", **facts)
    return fine(what, **facts)


async def _try_password(examined: Subject, value: str | None, found: Found) -> Check:
    credential, source = found.credential, found.source
    assert credential is not None  # without one, there is nothing to send, and the broker has said so
    request = build_ping(examined.endpoint)
    answer = await examined.transport.perform(request, examined.endpoint, authorization=value)
    if answer.status == _UNAUTHORIZED:
        text = f"the registry does not accept the user {credential.username!r} with its password"
        return failed(text, _CORRECT_LOGIN.format(source=source), status=answer.status)
    if answer.status != _OK:
        raise examined.failure(answer, request)
    return fine(f"the registry accepts the user {credential.username!r}")


def _is_invalid(answer: Response) -> bool:
    challenges = parse_challenges(answer.headers.get_all("WWW-Authenticate"))
    return any(each.params.get("error") == "invalid_token" for each in challenges)
