"""Faults and limits: what goes wrong with a request, when, and how often."""

from __future__ import annotations

from enum import Enum

from image_syncer.values import Value

__all__ = ["Fault", "FaultKind", "RateLimit", "RetryAfter", "TextEnum"]


class TextEnum(str, Enum):
    """A choice that is written as its text."""

    def __str__(self) -> str:
        return str(self.value)


class FaultKind(TextEnum):
    """What goes wrong with a request.

    STATUS answers with a status and a body. RESET cuts the connection after so many bytes of the body (of a GET: sent,
    of a PUT or PATCH: received; of a request without one: before the answer). LOST_ANSWER does what was asked and then
    cuts the connection. The others concern GET of a blob: WRONG_BYTES flips a byte (and adds a blank to a manifest),
    SHORT_BODY ends too early with a Content-Length that promised more, STALL sends nothing more and keeps the
    connection, UNTOLD_LENGTH promises no Content-Length and sends `after_bytes` more than the blob has.
    """

    STATUS = "status"
    RESET = "reset"
    LOST_ANSWER = "lost answer"
    WRONG_BYTES = "wrong bytes"
    SHORT_BODY = "short body"
    STALL = "stall"
    UNTOLD_LENGTH = "untold length"


class Fault(Value, frozen=True):
    """One thing that goes wrong: with requests of the kind `operation` ("*": any) whose path holds `match`.

    The first `skip` of them pass, the next `times` fail (None: all that follow). `after_bytes` is where in
    the body a fault in mid-stream strikes. `status`, `body`, `content_type` and `headers` are the answer of a
    STATUS fault; without a body it carries the error JSON of the specification.
    """

    operation: str
    kind: FaultKind = FaultKind.STATUS
    times: int | None = 1
    skip: int = 0
    match: str = ""
    status: int = 500
    body: str | None = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    after_bytes: int = 0


class RetryAfter(TextEnum):
    """The form in which a 429 says when to come back."""

    SECONDS = "seconds"
    DATE = "date"
    NONE = "none"


class RateLimit(Value, frozen=True):
    """Answers 429 to requests of the kinds in `operations` (empty: all) beyond what is allowed.

    `burst` requests pass at once, then `per_s` a second (0: none any more). With `times`, only so many are
    refused.
    """

    operations: tuple[str, ...] = ()
    burst: int = 0
    per_s: float = 0.0
    times: int | None = None
    retry_after: RetryAfter = RetryAfter.SECONDS
    retry_after_s: int = 1
    body: str | None = None
