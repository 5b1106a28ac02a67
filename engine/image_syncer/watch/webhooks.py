"""Who is told of runs, when, and what: the summary that webhooks get. Pure.

An address may hold a password, and with some services the path is one. So it is shown by its host alone, and everything
else of it is kept out of every text.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from image_syncer.errors import redact
from image_syncer.redaction import keep_out
from image_syncer.telemetry import Outcome
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from image_syncer.telemetry import Report

__all__ = ["NotifyWhen", "Webhook", "is_wanted", "parse_webhook", "parse_webhook_file", "summary_of"]

FAILURES_TOLD = 10
_OWN_HEADERS = frozenset({"content-length", "content-type", "host", "transfer-encoding"})


class NotifyWhen(str, Enum):
    """After which runs webhooks are told; the values are those of the command line."""

    ALWAYS = "always"
    FAILURE = "failure"
    CHANGE = "change"
    """Something was copied or failed, or the run ended another way than the one before."""

    def __str__(self) -> str:
        return self.value


class Webhook(Value, frozen=True):
    """An address to which summaries are posted, with header fields of the user's."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()

    __repr__ = repr_without("url", "headers")

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        words = [word for _, value in self.headers for word in value.split()]
        keep_out(parts.password, parts.query, parts.path.strip("/"), *words)

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def parse_webhook(url: str) -> Webhook:
    """Raises ValueError with a sentence that does not repeat the address."""
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or not url.strip().isprintable() or " " in url.strip():
        raise ValueError("it is no address of a webhook: write https://host/path")
    return Webhook(url.strip())


def parse_webhook_file(text: str) -> tuple[Webhook, ...]:
    """Addresses and header fields (`Name: value`), one a line; `#` begins a comment. The fields go to all addresses.

    Raises ValueError with a sentence that names the line.
    """
    urls: list[Webhook] = []
    headers: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            if stripped.lower().startswith(("http://", "https://")):
                urls.append(parse_webhook(stripped))
            else:
                headers.append(_parse_header(stripped))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    if not urls:
        raise ValueError("there is no address in it: write https://host/path on a line")
    return tuple(Webhook(each.url, tuple(headers)) for each in urls)


def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    fits = colon and name.isascii() and name.replace("-", "").isalnum() and value.isprintable()
    if not fits or name.lower() in _OWN_HEADERS:
        raise ValueError("it is neither an address nor a header field that may be set: write Name: value")
    return name, value.strip()


def is_wanted(when: NotifyWhen, report: Report, last_exit_code: int | None) -> bool:
    """Whether webhooks are told of this run, after one that ended with `last_exit_code` (None: there was none)."""
    if when is NotifyWhen.ALWAYS:
        return True
    if when is NotifyWhen.FAILURE:
        return report.exit_code != 0
    copied = report.totals.outcomes.get(Outcome.COPIED, 0)
    return bool(copied or report.exit_code or (last_exit_code or 0) != report.exit_code)


def summary_of(report: Report, *, cause: str, round_number: int) -> dict[str, Any]:
    """What is told of a run: counts, how it ended, and the first failures; no address, no settings, no secrets."""
    outcomes = report.totals.as_data()["outcomes"]
    return {
        "kind": report.kind,
        "cause": cause,
        "round": round_number,
        "started_at": report.started_at,
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
        "ok": report.exit_code == 0,
        "interrupted": report.interrupted,
        "text": redact(report.summary_line()),
        "images": report.totals.images,
        "outcomes": outcomes,
        "bytes_moved": report.totals.bytes_moved,
        "blobs_moved": report.totals.blobs_moved,
        "failures": [
            {
                "source": each.source,
                "destination": each.destination,
                "outcome": each.outcome.value,
                "reason": redact(each.reason or ""),
            }
            for each in report.failures[:FAILURES_TOLD]
        ],
    }
