"""What a 401 asks for: `WWW-Authenticate` (RFC 9110, section 11.6.1; RFC 6750, section 3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.registry.location import origin_of
from image_syncer.registry.message import Operation, Request
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.registry.endpoint import Endpoint

__all__ = ["TOKEN68", "Challenge", "build_ping", "parse_challenges", "rank_challenges"]

TOKEN68 = "token68"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's "token"
_SEPARATORS = re.compile(r"[\s,]*")
# A parameter's bare value is taken up to the next comma or space: servers forget the quotes around addresses.
_PARAM = re.compile(rf"({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^\s,\"]*))", re.DOTALL)
_SCHEME = re.compile(_TOKEN)
_BARE_DATA = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|\Z)")
_JUNK = re.compile(r"[^\s,]+")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_MAX_CHARS = 16 * 1024


class Challenge(Value, frozen=True):
    """One way to authenticate: its scheme and the names of its parameters in lower case, the values as they
    came.
    """

    scheme: str
    params: Mapping[str, str]


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """The challenges of all `WWW-Authenticate` fields, in their order (RFC 9110, section 11.6.1).

    One field may hold several, several fields one each. Never raises: what is no challenge is passed over. Of
    a parameter that is repeated the first value counts. Each field is read up to 16 KiB.
    """
    found: list[Challenge] = []
    for value in values:
        found += _parse_field(value[:_MAX_CHARS])
    return tuple(found)


def rank_challenges(challenges: Sequence[Challenge]) -> tuple[Challenge, ...]:
    """The challenges that can be answered, the best first: Bearer with a realm before Basic, because a token keeps the
    password off the wire. A Bearer whose realm is no HTTP address comes last, so that where there is no other its error
    is told.
    """
    bearer = [each for each in challenges if each.scheme == "bearer" and each.params.get("realm")]
    usable = [each for each in bearer if origin_of(each.params["realm"]) is not None]
    basic = [each for each in challenges if each.scheme == "basic"]
    return (*usable, *basic, *(each for each in bearer if each not in usable))


def build_ping(endpoint: Endpoint) -> Request:
    """Ask `/v2/`, whose 401 carries the challenge where that of another request did not (section "Determining
    support", end-1).
    """
    return Request(Operation.PING, "GET", f"{endpoint.base_url}/v2/", None)


def _parse_field(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    params: dict[str, str] | None = None
    at = 0
    while (at := _end(_SEPARATORS.match(text, at), at)) < len(text):
        if param := _PARAM.match(text, at):
            name, quoted, bare = param.groups()
            if params is not None:  # else it belongs to no scheme
                params.setdefault(name.lower(), bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted))
            at = param.end()
        elif scheme := _SCHEME.match(text, at):
            data = _BARE_DATA.match(text, scheme.end())
            params = {TOKEN68: data[1]} if data else {}
            found.append(Challenge(scheme[0].lower(), params))
            at = (data or scheme).end()
        else:
            at = _end(_JUNK.match(text, at), at + 1)
    return found


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return match.end() if match else otherwise
