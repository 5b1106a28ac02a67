"""What each cell of the matrix has to come to: that the image arrives, or the error that says why not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from image_syncer.errors import Origin
from matrix.cells import (
    BODY_EDITS,
    BREAKS,
    CLIENT_ERRORS,
    DOWNLOADS,
    GATEWAY,
    LIMITS,
    OF_CONNECTIONS,
    SOURCE_SIDE,
    UPLOADS,
    Cell,
    Kind,
    Moment,
    Operation,
)

__all__ = ["Expected", "expected"]


@dataclass(frozen=True)
class Expected:
    """`kinds` are those of the errors (as `SyncError.kind` says) that the image may fail with, none: it must arrive.
    With `may_arrive` it may do either. The error is on the side `origin`.
    """

    kinds: frozenset[str] = frozenset()
    origin: Origin | None = None
    may_arrive: bool = False

    def __str__(self) -> str:
        if not self.kinds:
            return "arrives"
        either = "arrives, or " if self.may_arrive else ""
        return f"{either}fails: {self.origin}, {' or '.join(sorted(self.kinds))}"


ARRIVES = Expected()

_BY_KIND = {
    Kind.S401: ("authentication",),
    Kind.S403: ("authentication",),
    Kind.S404: ("not found",),
    Kind.EXPIRED_SESSION: ("not found",),
    Kind.S409: ("refused",),
    Kind.S413: ("refused",),
    Kind.S416: ("refused",),
    Kind.REDIRECT_LOOP: ("protocol violation",),
    Kind.HTML_PAGE: ("protocol violation", "integrity"),
    **dict.fromkeys(LIMITS, ("rate limited", "not asked", "registry down")),
    **dict.fromkeys(GATEWAY, ("unavailable", "registry down")),
    **dict.fromkeys((*BREAKS, *OF_CONNECTIONS), ("transport", "registry down")),
    Kind.LOST_ANSWER: ("transport",),
    Kind.LENGTH_TOO_LARGE: ("transport",),
}
_PASSING = BREAKS | OF_CONNECTIONS | LIMITS | GATEWAY | {Kind.LOST_ANSWER, Kind.LENGTH_TOO_LARGE}
_HARMLESS = frozenset({Kind.TRICKLE, Kind.ANSWER_TWICE})


def expected(cell: Cell) -> Expected | None:
    """The outcome that a user has a right to; None where nobody has thought of it."""
    operation, kind = cell.operation, cell.kind
    if operation is Operation.CANCEL_UPLOAD and cell.moment is Moment.CONNECT and cell.lasting:
        return _fails(cell, "transport", "registry down")  # nobody is there for the second try either
    if operation is Operation.CANCEL_UPLOAD or kind in _HARMLESS or kind is Kind.CONNECTION_LIMIT:
        return ARRIVES
    special = _special(cell)
    if special is not None:
        return special
    if kind in _PASSING and not cell.lasting:
        return ARRIVES
    kinds = _BY_KIND.get(kind)
    return None if kinds is None else _fails(cell, *kinds)


def _fails(cell: Cell, *kinds: str) -> Expected:
    origin = Origin.SOURCE if cell.operation in SOURCE_SIDE else Origin.DESTINATION
    return Expected(frozenset(kinds), origin)


def _special(cell: Cell) -> Expected | None:
    operation, kind = cell.operation, cell.kind
    if cell.moment is Moment.AFTER and kind in BREAKS:
        if operation is Operation.START_UPLOAD and cell.lasting:
            # The upload meets a connection that closes while it begins, each time: a body under way cannot be rewound.
            return replace(_fails(cell, "transport"), may_arrive=True)
        return ARRIVES  # the answer has come: the next request opens another connection
    if cell.moment is not Moment.CONNECT and (resumed := _resumed(cell)) is not None:
        return resumed
    if kind in BODY_EDITS:
        return _of_body(cell)
    if kind is Kind.WRONG_DIGEST:
        return _of_digest(cell)
    if kind is Kind.HTML_PAGE and operation in UPLOADS and not (cell.lasting and operation is Operation.PUT_SMALL):
        # Before the last byte it can be no answer to the blob, and another try is due.
        return replace(_fails(cell, "protocol violation"), may_arrive=cell.moment is not Moment.BEFORE_ANSWER)
    if kind in _FORGIVEN.get((operation, True), ()):
        return ARRIVES
    return ARRIVES if not cell.lasting and kind in _FORGIVEN.get((operation, False), ()) else None


def _resumed(cell: Cell) -> Expected | None:
    """What comes of going on where a transfer was, and in another form."""
    operation, kind = cell.operation, cell.kind
    if operation in UPLOADS and cell.lasting and _was_done(cell):
        return ARRIVES  # it is asked for before it is sent again, and found
    if cell.lasting and cell.moment is Moment.IN_BODY and kind in BREAKS and operation in DOWNLOADS:
        return ARRIVES  # a part at a time
    if operation is Operation.GET_UPLOAD and kind is not Kind.REDIRECT_LOOP:
        return ARRIVES  # it is only a question: without an answer to it, another session
    if operation is Operation.PATCH_UPLOAD and kind in _FOR_PIECES:
        return ARRIVES  # what cannot pass in pieces goes whole
    if cell.lasting and operation is Operation.PUT_UPLOAD and cell.moment in (Moment.BEFORE_BODY, Moment.IN_BODY):
        if cell.moment is Moment.IN_BODY and kind in _CUTS:
            return ARRIVES  # what cannot pass whole goes in pieces
        if kind in _BY_KIND and kind not in CLIENT_ERRORS - {Kind.S413}:
            # Who answers before the body has come, and closes, may have his answer lost in a reset.
            return replace(_fails(cell, *_BY_KIND[kind], "transport"), may_arrive=True)
    return None


_CUTS = frozenset({Kind.RESET, Kind.CLOSE, Kind.S413, Kind.LENGTH_TOO_LARGE})
"""Seen as a cut at any speed. An answer in the middle of a body is one only where it comes before the last byte is out,
which a busy machine does not promise for a body that fits the buffers of a socket."""
_FOR_PIECES = BREAKS | GATEWAY | LIMITS | BODY_EDITS | {Kind.S413, Kind.S416, Kind.EXPIRED_SESSION}
_NEW_SESSION = frozenset({Kind.S401, Kind.EXPIRED_SESSION, Kind.S413, Kind.S416})
_TOKEN_ONCE = frozenset({Kind.S401})
"""The token may have expired: there is a new one."""
_FORGIVEN: dict[tuple[Operation, bool], frozenset[Kind]] = {
    # A GET tells what a HEAD does not.
    (Operation.HEAD_SOURCE, True): frozenset({Kind.S401, Kind.S403, Kind.S404, Kind.HTML_PAGE}),
    # A token service that knows no GET is asked by POST.
    (Operation.TOKEN_SOURCE, False): frozenset({Kind.S401, Kind.S403, Kind.S404}),
    (Operation.TOKEN_DESTINATION, False): frozenset({Kind.S404}),
    # Nothing that is known to be there.
    (Operation.HEAD_DESTINATION, True): frozenset({Kind.S403, Kind.S404, Kind.HTML_PAGE}),
    (Operation.HEAD_DESTINATION, False): _TOKEN_ONCE,
    (Operation.LIST_TAGS, False): _TOKEN_ONCE,
    (Operation.GET_MANIFEST, False): _TOKEN_ONCE,
    (Operation.PUT_MANIFEST, False): _TOKEN_ONCE,
    # A page has neither the length nor the digest of a blob, as damaged bytes have.
    **dict.fromkeys([(operation, False) for operation in DOWNLOADS], frozenset({Kind.S401, Kind.HTML_PAGE})),
    # No to a mount: a session is asked for without.
    (Operation.START_UPLOAD, False): frozenset({Kind.S401, Kind.S403, Kind.S404}),
    # Another session, or another token.
    **dict.fromkeys([(operation, False) for operation in UPLOADS], _NEW_SESSION),
}
"""What is got over, by operation and whether it lasts."""


def _was_done(cell: Cell) -> bool:
    """Whether the registry did what was asked, and the answer was spoilt."""
    lost = cell.moment is Moment.IN_HEAD and cell.kind in BREAKS
    return lost or (cell.moment is Moment.AFTER and cell.kind in GATEWAY | {Kind.LOST_ANSWER})


def _of_body(cell: Cell) -> Expected | None:
    operation, kind = cell.operation, cell.kind
    if operation in DOWNLOADS:
        return _fails(cell, "integrity", "transport") if cell.lasting else ARRIVES
    if operation in UPLOADS:
        return _fails(cell, "refused", "transport", "integrity") if cell.lasting else ARRIVES
    if kind is Kind.LENGTH_TOO_LARGE:
        return _fails(cell, "transport") if cell.lasting else ARRIVES
    if operation is Operation.GET_MANIFEST:
        return _fails(cell, "integrity", "protocol violation") if cell.lasting else ARRIVES
    if operation is Operation.PUT_MANIFEST:
        if kind is Kind.WRONG_BYTE and not cell.lasting:
            return ARRIVES
        return _fails(cell, "refused", "integrity")
    return _fails(cell, "protocol violation")


def _of_digest(cell: Cell) -> Expected | None:
    operation = cell.operation
    if operation is Operation.HEAD_DESTINATION:
        return ARRIVES  # something else is there
    if operation is Operation.HEAD_SOURCE:
        return _fails(cell, "not found")  # what it names is asked for, and is not there
    if operation in DOWNLOADS or operation is Operation.GET_MANIFEST:
        return ARRIVES  # the bytes count
    if operation in UPLOADS:
        return ARRIVES  # a blob that is asked for by its digest, and found
    return _fails(cell, "integrity") if cell.lasting else ARRIVES
