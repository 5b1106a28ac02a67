"""Webhooks: their addresses, the summaries of runs for them, and the poster, which no run waits for.

An address may hold a password, and with some services its path is one: it is shown by its host alone, and everything
else of it is kept out of every text.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pycurl

from image_syncer.errors import redact
from image_syncer.net import CurlDriver
from image_syncer.net.network_options import system_trust
from image_syncer.redaction import keep_out
from image_syncer.telemetry import Outcome, get_logger
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.telemetry import Report


TRIES = 3
PAUSE_S = 2.0
"""Before the second try; before the third it is twice as long."""
TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5
MOST_WAITING = 16
"""Summaries that wait for a webhook that does not answer; more replace the oldest."""
END_S = 5.0
"""How long the last summaries may take when the watch ends."""
_OK, _REDIRECTS, _TOO_MANY, _SERVER_ERRORS = 200, 300, 429, 500

_log = get_logger(__name__)


class WebhookPoster:
    """Posts summaries to all webhooks, one after the other, in the background. Must be made inside a loop."""

    def __init__(self, webhooks: Sequence[Webhook], *, pause_s: float = PAUSE_S) -> None:
        self._webhooks = webhooks
        self._pause_s = pause_s
        self._waiting: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self.posted = self.lost = 0
        """Summaries that a webhook accepted, and that it did not accept."""

    def post(self, body: bytes) -> None:
        """Post `body` (JSON) soon."""
        if not self._webhooks:
            return
        self._waiting.append(body)
        while len(self._waiting) > MOST_WAITING:
            del self._waiting[0]
            self.lost += len(self._webhooks)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self, patience_s: float | None = None) -> None:
        """Wait for `END_S`, or `patience_s`, until everything is posted; then give up."""
        if self._task is None or self._task.done():
            return
        _, left = await asyncio.wait((self._task,), timeout=END_S if patience_s is None else patience_s)
        for task in left:
            task.cancel()
            _log.warning("webhooks were not told of everything before the end", summaries=len(self._waiting) + 1)
            await asyncio.wait((task,), timeout=END_S)

    async def _work(self) -> None:
        driver = CurlDriver()
        try:
            while self._waiting:
                body = self._waiting.pop(0)
                await asyncio.gather(*(self._tell(driver, webhook, body) for webhook in self._webhooks))
        finally:
            driver.close()

    async def _tell(self, driver: CurlDriver, webhook: Webhook, body: bytes) -> None:
        reason = ""
        for number in range(TRIES):
            if number:
                await asyncio.sleep(self._pause_s * 2 ** (number - 1))
            reason, again = await _try(driver, webhook, body)
            if not reason:
                self.posted += 1
                _log.debug("webhook told", webhook=str(webhook))
                return
            if not again:
                break
        self.lost += 1
        _log.warning("a webhook was not told", webhook=str(webhook), reason=reason)


async def _try(driver: CurlDriver, webhook: Webhook, body: bytes) -> tuple[str, bool]:
    """Return why it was not accepted ("": it was), and whether to try again."""
    easy = pycurl.Curl()
    try:
        _set_up(easy, webhook, body)
        code, words = await driver.perform(easy)
        status = easy.getinfo(pycurl.RESPONSE_CODE)
    except pycurl.error as error:
        return f"libcurl does not take its address ({error.args[0]})", False
    finally:
        easy.close()
    if status and _OK <= status < _REDIRECTS:
        return "", False  # an error after the answer does not matter
    if code:
        return f"{words or pycurl.error.__name__} (libcurl {code})", True
    return f"it answered {status}", status in (408, _TOO_MANY) or status >= _SERVER_ERRORS


def _set_up(easy: pycurl.Curl, webhook: Webhook, body: bytes) -> None:
    trust = system_trust()
    setopt = easy.setopt
    setopt(pycurl.URL, webhook.url)
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.FOLLOWLOCATION, 0)  # a redirect would send the user's header fields to another host
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_S)
    setopt(pycurl.TIMEOUT, TIMEOUT_S)
    setopt(pycurl.POSTFIELDS, body)
    fields = [f"{name}: {value}" for name, value in webhook.headers]
    setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "User-Agent: image-syncer", "Expect:", *fields])
    setopt(pycurl.WRITEFUNCTION, _ignore)
    if trust.bundle:
        setopt(pycurl.CAINFO, trust.bundle)
    if trust.directory and not trust.same:
        setopt(pycurl.CAPATH, trust.directory)


def _ignore(data: bytes) -> int:
    return len(data)


FAILURES_TOLD = 10
_OWN_HEADERS = frozenset({"content-length", "content-type", "host", "transfer-encoding"})


class NotifyWhen(str, Enum):
    """After which runs summaries are posted; the values are those of the command line."""

    ALWAYS = "always"
    FAILURE = "failure"
    CHANGE = "change"
    """Something was copied or failed, or the exit code differs from that of the run before."""

    __str__ = str.__str__


class Webhook(Value, frozen=True):
    """An address for summaries, with header fields of the user."""

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
    """Parse an address. Raises ValueError with a message that does not repeat it."""
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or not url.strip().isprintable() or " " in url.strip():
        raise ValueError("it is no address of a webhook: write https://host/path")
    return Webhook(url.strip())


def parse_webhook_file(text: str) -> tuple[Webhook, ...]:
    """Parse addresses and header fields (`Name: value`), one per line; `#` begins a comment. All addresses get all
    fields. Raises ValueError with a message that names the line.
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
    """Return whether to post this run, after one that ended with `last_exit_code` (None: it is the first)."""
    if when is NotifyWhen.ALWAYS:
        return True
    if when is NotifyWhen.FAILURE:
        return report.exit_code != 0
    copied = report.totals.outcomes.get(Outcome.COPIED, 0)
    return bool(copied or report.exit_code or (last_exit_code or 0) != report.exit_code)


def summary_of(report: Report, *, cause: str, round_number: int) -> dict[str, Any]:
    """Return the summary of a run: counts, how it ended, and the first failures; no settings, no secrets."""
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
