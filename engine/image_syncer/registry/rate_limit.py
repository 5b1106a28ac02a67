"""What a registry says of its own limits, beside refusing: the `RateLimit` header fields in the forms that are met.

- Docker Hub: `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`, without a reset.
- draft-ietf-httpapi-ratelimit-headers up to 06, with or without `X-`: `RateLimit-Limit: 100, 100;w=60`,
  `RateLimit-Remaining: 50`, `RateLimit-Reset: 30` (seconds; some, as GitHub and GitLab, give a date in epoch seconds).
- its draft 07: `RateLimit: limit=100, remaining=50, reset=30`.
- its draft 08 and later: `RateLimit: "default";r=50;t=30` and `RateLimit-Policy: "default";q=100;w=60`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.registry.retry_after import parse_http_date
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.registry.message import Headers

__all__ = ["Allowance", "parse_allowance"]

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,6})?"
_FIRST = re.compile(rf"\s*({_NUMBER})")
_PARAMETER = re.compile(rf"(?:^|[;,\s])(limit|remaining|reset|q|w|r|t)\s*=\s*\"?({_NUMBER})", re.IGNORECASE)
_EPOCH_S = 1e9
"""A reset beyond it is a date: as a number of seconds to wait it would be thirty years."""
_MOST_TEXT = 1024


class Allowance(Value, frozen=True):
    """`remaining` requests may be made within `reset_s` seconds; there are `limit` of them in `window_s` seconds. What
    is not said is None.
    """

    limit: float | None = None
    window_s: float | None = None
    remaining: int | None = None
    reset_s: float | None = None

    @property
    def per_s(self) -> float | None:
        """The rate that can be kept up for ever, in requests a second."""
        return self.limit / self.window_s if self.limit and self.window_s else None


def parse_allowance(headers: Headers, now_epoch_s: float | None = None) -> Allowance | None:
    """What the header fields of an answer say; None where they say nothing of limits, or make no sense.

    Of several limits it is the one with the least remaining. A reset that is a date counts from the answer's own
    `Date`, else from `now_epoch_s`.
    """
    found = _structured(headers) or _separate(headers)
    if found is None:
        return None
    limit, window_s, remaining, reset_s = found
    if reset_s is not None and reset_s >= _EPOCH_S:
        said_at = parse_http_date(headers.get("Date", "").strip())
        now = now_epoch_s if said_at is None else said_at
        reset_s = None if now is None else max(0.0, reset_s - now)
    return Allowance(limit, window_s, None if remaining is None else int(remaining), reset_s)


_Found = tuple["float | None", "float | None", "float | None", "float | None"]


def _structured(headers: Headers) -> _Found | None:
    """`RateLimit` with its `RateLimit-Policy` (drafts 07 and later)."""
    text = headers.get("RateLimit", "")[:_MOST_TEXT]
    if not text:
        return None
    policies = dict(_items(headers.get("RateLimit-Policy", "")[:_MOST_TEXT]))
    best: _Found | None = None
    for name, fields in _items(text) if '"' in text else [("", _parameters(text))]:
        policy = policies.get(name, next(iter(policies.values()), {}))
        found = (
            policy.get("q", fields.get("limit")),
            policy.get("w"),
            fields.get("r", fields.get("remaining")),
            fields.get("t", fields.get("reset")),
        )
        if found[2] is not None and (best is None or best[2] is None or found[2] < best[2]):
            best = found
    return best


def _items(text: str) -> Iterator[tuple[str, dict[str, float]]]:
    """The members of a list (RFC 9651, section 3.1): the name before the first semicolon, and what follows it."""
    for part in text.split(","):
        name, _, rest = part.strip().partition(";")
        if rest:
            yield name.strip().strip('"'), _parameters(rest)


def _separate(headers: Headers) -> _Found | None:
    """`RateLimit-Limit`, `-Remaining` and `-Reset`."""
    for prefix in ("RateLimit-", "X-RateLimit-"):
        limit_text = headers.get(f"{prefix}Limit", "")[:_MOST_TEXT]
        remaining_text = headers.get(f"{prefix}Remaining", "")[:_MOST_TEXT]
        remaining = _first(remaining_text)
        if remaining is None:
            continue
        window_s = _parameters(remaining_text).get("w", _parameters(limit_text).get("w"))
        return _first(limit_text), window_s, remaining, _first(headers.get(f"{prefix}Reset", "")[:_MOST_TEXT])
    return None


def _parameters(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, number in _PARAMETER.findall(text):
        found.setdefault(name.lower(), float(number))
    return found


def _first(text: str) -> float | None:
    match = _FIRST.match(text)
    return float(match[1]) if match else None
