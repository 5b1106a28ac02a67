"""The matrix: every operation of a copy × every moment of it × every kind of fault × once or for ever.

A cell is either impossible, by a rule with a reason, or it has an outcome that a user has a right to (`outcomes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CELLS", "Cell", "Kind", "Moment", "Operation", "impossible"]


class Operation(Enum):
    """What the tool does on the way of an image; "small" is the short way of small blobs."""

    OPEN_SOURCE = "open source"
    OPEN_DESTINATION = "open destination"
    TOKEN_SOURCE = "token source"
    TOKEN_DESTINATION = "token destination"
    LIST_TAGS = "list tags"
    HEAD_SOURCE = "head manifest source"
    HEAD_DESTINATION = "head manifest destination"
    GET_MANIFEST = "get manifest"
    GET_BLOB = "get blob"
    GET_SMALL = "get small blob"
    START_UPLOAD = "start upload"
    PUT_UPLOAD = "put upload"
    PUT_SMALL = "put small upload"
    PATCH_UPLOAD = "patch upload"
    GET_UPLOAD = "get upload status"
    CANCEL_UPLOAD = "cancel upload"
    PUT_MANIFEST = "put manifest"


class Moment(Enum):
    """When the fault comes. "The body" is the request's where it has one, else the answer's."""

    CONNECT = "connect"
    BEFORE_ANSWER = "before the answer"
    IN_HEAD = "in the head"
    BEFORE_BODY = "before the body"
    IN_BODY = "in the body"
    AFTER = "after"


class Kind(Enum):
    """What goes wrong."""

    REFUSE = "refuse"
    RESET = "reset"
    CLOSE = "close"
    STALL = "stall"
    TRICKLE = "trickle"
    TLS_ALERT = "TLS alert"
    DNS_FAILURE = "DNS failure"
    CONNECTION_LIMIT = "connection limit"
    WRONG_BYTE = "wrong byte"
    SHORT_BODY = "short body"
    LONG_BODY = "long body"
    LENGTH_TOO_LARGE = "Content-Length too large"
    LENGTH_TOO_SMALL = "Content-Length too small"
    WRONG_DIGEST = "wrong digest header"
    LOST_ANSWER = "lost answer"
    ANSWER_TWICE = "answer twice"
    REDIRECT_LOOP = "redirect loop"
    EXPIRED_SESSION = "expired session"
    HTML_PAGE = "200 HTML"
    HTML_ERROR = "502 HTML"
    S401 = "401"
    S403 = "403"
    S404 = "404"
    S409 = "409"
    S413 = "413"
    S416 = "416"
    S429_SECONDS = "429 seconds"
    S429_DATE = "429 date"
    S429_BARE = "429 bare"
    S429_HTML = "429 HTML"
    S500 = "500"
    S502 = "502"
    S503 = "503"
    S504 = "504"
    S522 = "522"


@dataclass(frozen=True)
class Cell:
    """One place of the matrix; with `lasting` the fault strikes each time, without it the first time only."""

    operation: Operation
    moment: Moment
    kind: Kind
    lasting: bool

    def __str__(self) -> str:
        often = "for ever" if self.lasting else "once"
        return f"{self.operation.value} / {self.moment.value} / {self.kind.value} / {often}"


OPENING = frozenset({Operation.OPEN_SOURCE, Operation.OPEN_DESTINATION})
TOKENS = frozenset({Operation.TOKEN_SOURCE, Operation.TOKEN_DESTINATION})
HEADS = frozenset({Operation.HEAD_SOURCE, Operation.HEAD_DESTINATION})
DOWNLOADS = frozenset({Operation.GET_BLOB, Operation.GET_SMALL})
UPLOADS = frozenset({Operation.PUT_UPLOAD, Operation.PUT_SMALL, Operation.PATCH_UPLOAD})
IN_SESSION = UPLOADS | {Operation.GET_UPLOAD, Operation.CANCEL_UPLOAD}
WRITES = UPLOADS | {Operation.START_UPLOAD, Operation.CANCEL_UPLOAD, Operation.PUT_MANIFEST}
REQUEST_BODIES = UPLOADS | {Operation.PUT_MANIFEST}
WITHOUT_BODY = HEADS | {Operation.START_UPLOAD, Operation.GET_UPLOAD, Operation.CANCEL_UPLOAD}
WITH_DIGEST_HEADER = (
    HEADS | DOWNLOADS | {Operation.GET_MANIFEST, Operation.PUT_UPLOAD, Operation.PUT_SMALL, Operation.PUT_MANIFEST}
)
SOURCE_SIDE = DOWNLOADS | {
    Operation.OPEN_SOURCE,
    Operation.TOKEN_SOURCE,
    Operation.LIST_TAGS,
    Operation.HEAD_SOURCE,
    Operation.GET_MANIFEST,
}

OF_CONNECTIONS = frozenset({Kind.REFUSE, Kind.TLS_ALERT, Kind.DNS_FAILURE, Kind.CONNECTION_LIMIT})
BREAKS = frozenset({Kind.RESET, Kind.CLOSE, Kind.STALL})
BODY_EDITS = frozenset({Kind.WRONG_BYTE, Kind.SHORT_BODY, Kind.LONG_BODY, Kind.LENGTH_TOO_LARGE, Kind.LENGTH_TOO_SMALL})
LIMITS = frozenset({Kind.S429_SECONDS, Kind.S429_DATE, Kind.S429_BARE, Kind.S429_HTML})
GATEWAY = frozenset({Kind.S500, Kind.S502, Kind.S503, Kind.S504, Kind.S522, Kind.HTML_ERROR})
CLIENT_ERRORS = frozenset({Kind.S401, Kind.S403, Kind.S404, Kind.S409, Kind.S413, Kind.S416})
ANSWERS = GATEWAY | LIMITS | CLIENT_ERRORS | {Kind.HTML_PAGE, Kind.REDIRECT_LOOP, Kind.EXPIRED_SESSION}
ELSEWHERE = (
    DOWNLOADS | TOKENS | {Operation.LIST_TAGS, Operation.GET_MANIFEST, Operation.PUT_UPLOAD, Operation.PUT_SMALL}
)
"""Operations that a registry may send to another host, whose name is then looked up anew."""


def impossible(cell: Cell) -> str | None:
    """Why there is no such cell; None where there is one."""
    operation, moment, kind = cell.operation, cell.moment, cell.kind
    if operation in OPENING and moment is not Moment.CONNECT:
        return "nothing is asked when a connection is opened"
    if moment is Moment.CONNECT:
        return _impossible_connect(cell)
    if kind in OF_CONNECTIONS:
        return "it happens to connections, not to requests: see the moment of connecting"
    if moment in (Moment.BEFORE_BODY, Moment.IN_BODY) and operation in WITHOUT_BODY:
        return "neither the request nor its answer has a body"
    if kind in ANSWERS:
        return _impossible_answer(cell)
    if kind in BODY_EDITS:
        return None if moment is Moment.IN_BODY else "it happens to a body"
    return {
        Kind.TRICKLE: None if moment in (Moment.IN_HEAD, Moment.IN_BODY) else "nothing flows then",
        Kind.WRONG_DIGEST: _impossible_digest(cell),
        Kind.LOST_ANSWER: _impossible_lost(cell),
        Kind.ANSWER_TWICE: None if moment is Moment.AFTER else "the second answer comes after the first",
    }.get(kind)


def _impossible_connect(cell: Cell) -> str | None:
    operation, kind = cell.operation, cell.kind
    if kind not in OF_CONNECTIONS | BREAKS:
        return "nothing has been asked, so nothing is answered"
    if kind is Kind.CONNECTION_LIMIT and operation not in OPENING:
        return "a limit counts connections, whatever is asked on them: see opening"
    if kind is Kind.CONNECTION_LIMIT and not cell.lasting:
        return "a limit lasts"
    if kind is Kind.DNS_FAILURE and operation not in ELSEWHERE | OPENING:
        return "the name was looked up by an earlier request to the same host: see opening"
    if kind is Kind.DNS_FAILURE and operation in OPENING and not cell.lasting:
        return "who looks up names here cannot be made to fail once: see the operations that are sent elsewhere"
    if kind is Kind.DNS_FAILURE and operation in TOKENS and not cell.lasting:
        return "the name of a realm is remembered, and who looks up names here cannot be made to fail once"
    return None


def _impossible_answer(cell: Cell) -> str | None:
    operation, moment, kind = cell.operation, cell.moment, cell.kind
    if kind is Kind.EXPIRED_SESSION and operation not in IN_SESSION:
        return "it is not asked within an upload session"
    if moment is Moment.IN_HEAD:
        return "an answer's status is the beginning of its head"
    if moment in (Moment.BEFORE_BODY, Moment.IN_BODY) and operation not in REQUEST_BODIES:
        return "the status of an answer comes before its body"
    if moment is Moment.AFTER and operation not in WRITES:
        return "a read that was not answered leaves nothing: the same as before the answer"
    if moment is Moment.AFTER and kind not in GATEWAY:
        return "only what stands between says no to what was done"
    return None


def _impossible_digest(cell: Cell) -> str | None:
    if cell.operation not in WITH_DIGEST_HEADER:
        return "its answer has no digest in the head"
    return None if cell.moment is Moment.IN_HEAD else "it stands in the head"


def _impossible_lost(cell: Cell) -> str | None:
    if cell.moment is not Moment.AFTER:
        return "what is lost is the answer to what was done"
    return None if cell.operation in WRITES else "a read that was not answered leaves nothing: the same as a reset"


def _all() -> Iterator[Cell]:
    for operation, moment, kind, lasting in product(Operation, Moment, Kind, (False, True)):
        yield Cell(operation, moment, kind, lasting)


CELLS = tuple(_all())
"""The whole product, the impossible ones among them."""
