"""Posts summaries to webhooks, with few tries and little patience: whatever becomes of it, no run waits or fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pycurl

from image_syncer.net import CurlDriver
from image_syncer.net.trust import system_trust
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.watch.webhooks import Webhook

__all__ = ["WebhookPoster"]

TRIES = 3
PAUSE_S = 2.0
"""Before the second try; before the third it is twice as long."""
TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5
MOST_WAITING = 16
"""Summaries that wait for a webhook that does not answer: the oldest go first."""
END_S = 5.0
"""How long the last summaries may take when the watch ends."""
_OK, _REDIRECTS, _TOO_MANY, _SERVER_ERRORS = 200, 300, 429, 500

_log = get_logger(__name__)


class WebhookPoster:
    """Tells each webhook one summary after the other, beside everything else. Must be made inside a loop."""

    def __init__(self, webhooks: Sequence[Webhook], *, pause_s: float = PAUSE_S) -> None:
        self._webhooks = webhooks
        self._pause_s = pause_s
        self._waiting: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self.posted = self.lost = 0
        """Summaries that a webhook took, and that it did not take, whatever the reason."""

    def post(self, body: bytes) -> None:
        """Has `body` (JSON) posted soon."""
        if not self._webhooks:
            return
        self._waiting.append(body)
        while len(self._waiting) > MOST_WAITING:
            del self._waiting[0]
            self.lost += len(self._webhooks)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self, patience_s: float | None = None) -> None:
        """What waits is posted if that is done soon (`END_S`, or `patience_s`), and else given up."""
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
    """Why it was not taken ("": it was), and whether to try again."""
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
        return "", False  # whatever broke afterwards, it was taken
    if code:
        return f"{words or pycurl.error.__name__} (libcurl {code})", True
    return f"it answered {status}", status in (408, _TOO_MANY) or status >= _SERVER_ERRORS


def _set_up(easy: pycurl.Curl, webhook: Webhook, body: bytes) -> None:
    trust = system_trust()
    setopt = easy.setopt
    setopt(pycurl.URL, webhook.url)
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.FOLLOWLOCATION, 0)  # a redirect would take the user's header fields to somebody else
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
