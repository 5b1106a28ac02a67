"""Probes of access: the ping, the clocks, the challenge, the credential, the token and its rights, and a push."""

from __future__ import annotations

import base64
import binascii
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import orjson

from image_syncer.doctor.checks import Check, failed, fine, skipped, warned
from image_syncer.doctor.network import OWN_WANTED, lacks_certificate
from image_syncer.errors import AuthenticationError, TransportError
from image_syncer.net.token_broker import USABLE_PART
from image_syncer.oci import digest_of
from image_syncer.registry import (
    NO_REGISTRY_HINT,
    REDIRECT_STATUSES,
    Operation,
    Request,
    build_ping,
    is_page,
    origin_of,
    parse_challenges,
    pull_scope,
    push_scope,
    rank_challenges,
    without_query,
)
from image_syncer.units import format_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.credentials import Found
    from image_syncer.doctor.checks import Subject
    from image_syncer.registry import Response, Scope


_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 200, 400, 401, 403, 404, 405
_PROXY_WANTS_PASSWORD, _TOO_MANY = 407, 429
_OPTIONS_STATUSES = (200, 204)
_TOKEN_PARTS = 3
_LAST_S = 1e11
"""The year 5138: a larger number is no time."""
CLOCKS_APART_S = 60.0
"""A warning: an answer takes less, and a token of a minute may be expired."""
CLOCKS_BROKEN_S = 300.0
"""A failure: tokens and signed addresses are valid for some minutes only."""
SHORT_TOKEN_S = 10.0
"""On a slow network, a shorter token expires before its use."""

_CLOCK = (
    "Set the clock of this machine by a time server (timedatectl, chronyc), or have the registry's set: tokens and "
    "signed addresses are good for minutes only."
)
_REFUSED_HERE = "Something in front of the registry turns this machine away: ask its operator, or use another network."
_PROXY = "The proxy answers in place of the registry: check that it permits this machine, or name the host in no_proxy."
_NO_API = "There is no registry at this address, or one that only speaks version 1: check the host and its port."
_CORRECT_LOGIN = "Correct the password, or log in again; the credentials came from {source}."
_DISAGREED = (
    "The registry and its token service do not agree: their clocks may differ, or the registry may not trust the "
    "service (its key, issuer or service name). Ask their operators to check."
)
_NO_PULL = "Ask the operator of the registry for the right to pull from {repository}; it may also not exist there."
_NO_PUSH = "Where images are to be copied to {repository}, ask who runs the registry for the right to push."
READ_ONLY = (
    "The registry, or a proxy in front of it, takes no writes (maintenance, a mirror): copy to another, or have writes "
    "switched on."
)


async def probe_ping(subject: Subject) -> Check:
    """Ask `/v2/` without a credential (OCI distribution specification 1.1, section "Determining support")."""
    request = build_ping(subject.endpoint)
    before = time.time()
    try:
        response = await subject.transport.perform(request, subject.endpoint)
    except TransportError as cut:
        # With TLS 1.3 the registry checks the client certificate after the handshake (RFC 8446, section 2).
        return failed(cut, OWN_WANTED if lacks_certificate(subject) else None)
    subject.learnt.asked_at_epoch_s = (before + time.time()) / 2
    subject.learnt.ping = response
    status = response.status
    facts: dict[str, Any] = {
        "status": status,
        "version": response.headers.get("Docker-Distribution-Api-Version"),
        "server": response.headers.get("Server"),
    }
    seen = subject.learnt.connection
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
        return failed(f"answered {status}, a redirect to {target}", "Write the registry by that host.", **facts)
    error = subject.failure(response, request)
    if error.retryable and status == _TOO_MANY:
        return warned(error.message, error.hint, **facts)
    cures = {_FORBIDDEN: _REFUSED_HERE, _NOT_FOUND: _NO_API}
    return failed(error, cures.get(status), **facts)


async def probe_clock(subject: Subject) -> Check:
    """Compare the registry's clock (RFC 9110, section 6.6.1, `Date`) with the local one."""
    ping = subject.learnt.ping
    assert ping is not None
    text = ping.headers.get("Date")
    try:
        theirs = parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return skipped("the registry does not say what time it is")
    apart_s = subject.learnt.asked_at_epoch_s - theirs
    facts: dict[str, Any] = {"apart_s": round(apart_s, 1)}
    if abs(apart_s) <= CLOCKS_APART_S:
        return fine("it goes as the registry's does, within a minute", **facts)
    side = "ahead of" if apart_s > 0 else "behind"
    what = f"the clock of this machine is {format_duration(abs(apart_s))} {side} the registry's"
    return (failed if abs(apart_s) > CLOCKS_BROKEN_S else warned)(what, _CLOCK, **facts)


async def probe_challenge(subject: Subject) -> Check:
    """Read the challenge of the registry (RFC 9110, section 11.6.1)."""
    ping = subject.learnt.ping
    assert ping is not None
    if ping.status != _UNAUTHORIZED:
        return fine("none: anonymous access", scheme=None)
    values = ping.headers.get_all("WWW-Authenticate")
    challenge = subject.learnt.challenge = next(iter(rank_challenges(parse_challenges(values))), None)
    if challenge is None:
        said = (
            f"only {', '.join(sorted({each.scheme for each in parse_challenges(values)}))}" if values else "no scheme"
        )
        text = f"the registry asks for credentials, and offers {said}"
        return failed(text, "A proxy may have taken the header WWW-Authenticate away, or this is no registry.")
    facts: dict[str, Any] = {"scheme": challenge.scheme, "realm": challenge.params.get("realm")}
    if challenge.scheme == "basic":
        if subject.endpoint.base_url.startswith("http://") and not subject.is_on_loopback:
            return warned("a user name and a password, which go in the clear", "Have the registry speak TLS.", **facts)
        return fine("a user name and a password (Basic)", **facts)
    realm, service = without_query(challenge.params.get("realm", "")), challenge.params.get("service")
    if origin_of(realm) is None:
        what = f"a token of {realm[:120]!r}, which is no address"
        return failed(what, "The operator of the registry has to set its realm.")
    what = f"a token of {realm}" + (f" for {service}" if service else "")
    return fine(what, scheme="bearer", realm=realm, service=service)


async def probe_credential(subject: Subject) -> Check:
    """Find the credential of a run, and its source."""
    found = await subject.credentials.find(subject.credential_location)
    credential, source = found.credential, found.source
    if credential is None:
        return fine("no credentials; anonymous", source=source)
    who = "an identity token" if credential.identity_token else f"the user {credential.username!r}"
    return fine(f"{who}, from {source}", source=source, user=credential.username or None)


async def probe_login(subject: Subject) -> Check:
    """Check that the registry or its token service accepts the credential, and the registry the token."""
    challenge, ping = subject.learnt.challenge, subject.learnt.ping
    assert ping is not None
    found = await subject.credentials.find(subject.credential_location)
    if challenge is None:
        subject.broker.answered(subject.endpoint)
        return skipped("not asked for here; what wants it shows below")
    scopes = (pull_scope(subject.repository),) if subject.repository else ()
    given = await subject.broker.renew(
        subject.endpoint, subject.credential_location, scopes, None, ping.headers.get_all("WWW-Authenticate")
    )
    subject.learnt.authorization = given
    if challenge.scheme == "basic":
        return await _try_password(subject, given.value, found)
    seconds = given.usable_s / USABLE_PART
    claims = read_claims(given.value)
    facts: dict[str, Any] = {"lifetime_s": round(seconds, 1)}
    answer = await subject.transport.perform(build_ping(subject.endpoint), subject.endpoint, authorization=given.value)
    if answer.status == _UNAUTHORIZED and _is_invalid(answer):
        when = claims.trouble(time.time()) if claims else None
        text = "the registry refuses the token that its token service has just given"
        return failed(f"{text}: {when}" if when else text, _CLOCK if when else _DISAGREED, **facts)
    what = f"a token, good for {format_duration(seconds)}" + ("" if found.credential else ", anonymous")
    if seconds < SHORT_TOKEN_S:
        return warned(what, "Have the token service give tokens that last a minute or more.", **facts)
    return fine(what, **facts)


async def _try_password(subject: Subject, value: str | None, found: Found) -> Check:
    credential = found.credential
    assert credential is not None  # else the broker has raised
    request = build_ping(subject.endpoint)
    answer = await subject.transport.perform(request, subject.endpoint, authorization=value)
    if answer.status == _UNAUTHORIZED:
        text = f"the registry does not accept the user {credential.username!r} with its password"
        return failed(text, _CORRECT_LOGIN.format(source=found.source), status=answer.status)
    if answer.status != _OK:
        raise subject.failure(answer, request)
    return fine(f"the registry accepts the user {credential.username!r}")


def _is_invalid(answer: Response) -> bool:
    challenges = parse_challenges(answer.headers.get_all("WWW-Authenticate"))
    return any(each.params.get("error") == "invalid_token" for each in challenges)


async def probe_scopes(subject: Subject) -> Check:
    """Check which rights the token service grants, for a pull, and for a pull and a push."""
    repository, challenge = subject.repository, subject.learnt.challenge
    if repository is None or challenge is None or challenge.scheme == "basic":
        return skipped("there are none without a token" if repository else "there are none without a repository")
    assert subject.learnt.authorization is not None
    pull = read_claims(subject.learnt.authorization.value)
    granted = pull.actions_on(pull_scope(repository)) if pull else None
    try:
        push_value = (await subject.broker.authorize(subject.endpoint, repository, (push_scope(repository),))).value
    except AuthenticationError as error:
        return _missing(subject, "push", error.message, sorted(granted or ()))
    both = read_claims(push_value)
    with_push = both.actions_on(push_scope(repository)) if both else None
    if granted is None or with_push is None:
        return fine("a token for each; they do not show what they are good for", granted=None)
    all_granted = sorted(granted | with_push)
    if "pull" not in all_granted and "*" not in all_granted:
        return failed(
            f"the token carries no right to pull from {repository}: it has {_listed(all_granted)}",
            _NO_PULL.format(repository=repository),
            granted=all_granted,
        )
    if "push" not in all_granted and "*" not in all_granted:
        return _missing(subject, "push", f"the token carries {_listed(all_granted)}, and no push", all_granted)
    return fine(_listed(all_granted), granted=all_granted)


async def probe_push(subject: Subject) -> Check:
    """Check without writing whether a push is allowed: PUT an upload session and a digest that do not exist.

    With the right to push, the answer is 404 or 400 for the session, without it 401 or 403. A read-only registry
    answers 405, or says so in `Allow`.
    """
    repository = subject.repository
    assert repository is not None
    uploads = f"{subject.endpoint.base_url}/v2/{repository.name}/blobs/uploads/"
    nowhere = f"{uploads}{uuid4()}?digest={quote(digest_of(uuid4().bytes), safe='')}"
    headers = (("Content-Type", "application/octet-stream"),)
    scopes = (push_scope(repository),)
    request = Request(Operation.PUT_UPLOAD, "PUT", nowhere, repository, headers=headers, body=b"", scopes=scopes)
    try:
        response = await subject.exchange(request)
    except AuthenticationError as error:
        return _refused(subject, error.message, error.hint)
    refusal = subject.failure(response, request)
    facts: dict[str, Any] = {"status": response.status, "codes": list(refusal.codes)}
    if response.status in (_UNAUTHORIZED, _FORBIDDEN):
        return _refused(subject, refusal.message, refusal.hint, **facts)
    if response.status == _NOT_ALLOWED or "UNSUPPORTED" in refusal.codes:
        return _grave(subject)(f"the registry takes no writes: {refusal.message}", READ_ONLY, **facts)
    if response.status not in (_NOT_FOUND, _BAD_REQUEST) or is_page(response):
        return skipped(f"unknown without writing ({response.status}): add --write", **facts)
    options = await subject.exchange(Request(Operation.START_UPLOAD, "OPTIONS", uploads, repository, scopes=scopes))
    allowed = options.headers.get("Allow", "") if options.status in _OPTIONS_STATUSES else ""
    if allowed and "POST" not in allowed.upper():
        text = f"the registry takes no writes: of uploads it allows {allowed} only"
        return _grave(subject)(text, READ_ONLY, allowed=allowed, **facts)
    return fine("a push is let in" + ("" if subject.write else "; to try uploads, add --write"), **facts)


def _refused(subject: Subject, what: str, hint: str | None, **facts: object) -> Check:
    cure = _NO_PUSH.format(repository=subject.repository)
    return _grave(subject)(f"a push is not let in: {what}", cure if hint is None else f"{hint} {cure}", **facts)


def _missing(subject: Subject, right: str, what: str, granted: list[str]) -> Check:
    cure = _NO_PUSH.format(repository=subject.repository)
    return _grave(subject)(what, cure, granted=granted, missing=[right])


def _grave(subject: Subject) -> Callable[..., Check]:
    """Return the check for a missing right to push: a failure only with `write`."""
    return failed if subject.write else warned


def _listed(actions: list[str]) -> str:
    return ", ".join(actions) or "nothing"


class Claims(Value, frozen=True):
    """The claims of a JSON web token (RFC 7519), unverified. The token itself is never shown.

    `access` has the granted rights as (resource, name, actions), or None; the times are in seconds since 1970, or None.
    """

    access: tuple[tuple[str, str, frozenset[str]], ...] | None
    begins: float | None
    ends: float | None

    def actions_on(self, scope: Scope) -> frozenset[str] | None:
        """Return the granted actions on the resource of `scope`, or None if the token does not say."""
        if self.access is None:
            return None
        granted: frozenset[str] = frozenset()
        for resource, name, actions in self.access:
            if (resource, name) == (scope.resource, scope.name):
                granted |= actions
        return granted

    def trouble(self, now: float) -> str | None:
        """Return what is wrong with its times by the local clock, or None."""
        if self.begins is not None and self.begins > now:
            return f"by the clock of this machine it is not good for another {format_duration(self.begins - now)}"
        if self.ends is not None and self.ends <= now:
            return f"by the clock of this machine it ended {format_duration(now - self.ends)} ago"
        if self.begins is not None and self.ends is not None and self.ends <= self.begins:
            return "it ends before it begins"
        return None


def read_claims(authorization: str | None) -> Claims | None:
    """Return the claims in a value for `Authorization`, or None if it is no JSON web token."""
    scheme, _, token = (authorization or "").partition(" ")
    parts = token.split(".")
    if scheme.lower() != "bearer" or len(parts) != _TOKEN_PARTS:
        return None
    try:
        payload = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(payload, dict):
        return None
    return Claims(_access(payload.get("access")), _seconds(payload.get("nbf")), _seconds(payload.get("exp")))


def _access(value: Any) -> tuple[tuple[str, str, frozenset[str]], ...] | None:
    """Docker's "Token Authentication Implementation", the claim `access`."""
    if not isinstance(value, list):
        return None
    entries = [entry for entry in value if isinstance(entry, dict)]
    return tuple((str(entry.get("type")), str(entry.get("name")), _actions(entry.get("actions"))) for entry in entries)


def _actions(value: Any) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LAST_S else None
