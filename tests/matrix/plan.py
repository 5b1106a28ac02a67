"""The faults that make a cell of the matrix happen, at the door of the side that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from matrix.cells import DOWNLOADS, IN_SESSION, REQUEST_BODIES, TOKENS, Cell, Kind, Moment, Operation
from support.fault_plan import Action, ProxyFault
from support.fault_plan import Moment as Point

if TYPE_CHECKING:
    from image_syncer.embedded import MadeBlob

__all__ = ["NOWHERE", "Arranged", "arrange", "connect_action"]

NOWHERE = f"{'x' * 64}.invalid:5000"
"""A host whose first label is too long to be looked up (RFC 1035, section 2.3.4): it fails at once, everywhere."""

_ROUTES = {
    Operation.TOKEN_SOURCE: "get token",
    Operation.TOKEN_DESTINATION: "get token",
    Operation.LIST_TAGS: "list tags",
    Operation.HEAD_SOURCE: "head manifest",
    Operation.HEAD_DESTINATION: "head manifest",
    Operation.GET_MANIFEST: "get manifest",
    Operation.GET_BLOB: "get blob",
    Operation.GET_SMALL: "get blob",
    Operation.START_UPLOAD: "start upload",
    Operation.PUT_UPLOAD: "put upload",
    Operation.PUT_SMALL: "put upload",
    Operation.PATCH_UPLOAD: "patch upload",
    Operation.GET_UPLOAD: "get upload",
    Operation.CANCEL_UPLOAD: "cancel upload",
    Operation.PUT_MANIFEST: "put manifest",
}
"""The kind of request that each operation is, as `image_syncer.embedded.route` names it."""

_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please log in to go on.</body></html>"
_HTML = ("Content-Type", "text/html")
_JSON = ("Content-Type", "application/json")
_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 409: "CONFLICT", 413: "SIZE_INVALID"}
_ACTIONS = {
    Kind.RESET: Action.RESET,
    Kind.CLOSE: Action.CLOSE,
    Kind.STALL: Action.STALL,
    Kind.TRICKLE: Action.TRICKLE,
    Kind.WRONG_BYTE: Action.FLIP,
    Kind.SHORT_BODY: Action.SHORTEN,
    Kind.LONG_BODY: Action.LENGTHEN,
    Kind.LENGTH_TOO_LARGE: Action.OVERSTATE,
    Kind.LENGTH_TOO_SMALL: Action.UNDERSTATE,
}
_CONNECTS = {
    Kind.REFUSE: Action.REFUSE,
    Kind.RESET: Action.RESET,
    Kind.CLOSE: Action.CLOSE,
    Kind.STALL: Action.HUSH,
    Kind.TLS_ALERT: Action.ALERT,
}
WRONG_DIGEST = "sha256:" + "0123456789abcdef" * 4


@dataclass(frozen=True)
class Arranged:
    """The faults at the door of the cell's own side, and those at the other side's that lead there."""

    own: tuple[ProxyFault, ...]
    other: tuple[ProxyFault, ...] = ()

    @property
    def sign(self) -> ProxyFault:
        """The fault that has to have struck, or the cell was not tried at all."""
        return self.own[-1]


def connect_action(cell: Cell) -> Action | None:
    """What connections meet from the beginning on, in a cell about opening them."""
    return _CONNECTS.get(cell.kind)


def arrange(cell: Cell, layer: MadeBlob, own_address: str) -> Arranged:
    """The faults for `cell` in an image with `layer`; `own_address` is that of the door on the cell's side."""
    operation, kind = cell.operation, cell.kind
    own: list[ProxyFault] = []
    other: list[ProxyFault] = []
    if operation in (Operation.PATCH_UPLOAD, Operation.GET_UPLOAD):
        half = layer.size // 2
        own.append(ProxyFault(Action.RESET, Point.REQUEST_BODY, "put upload", layer.digest.hex, after_bytes=half))
    if operation is Operation.PATCH_UPLOAD:  # pieces come after a cut that ends the session
        _, headers, text = _answer(Kind.EXPIRED_SESSION)
        own.append(ProxyFault(Action.ANSWER, Point.BEFORE_ANSWER, "get upload", status=404, headers=headers, body=text))
    if operation is Operation.CANCEL_UPLOAD:
        other.append(
            ProxyFault(Action.FLIP, Point.ANSWER_BODY, "get blob", layer.digest.hex, after_bytes=layer.size - 1)
        )
    own.append(_fault(cell, layer, own_address))
    if kind is Kind.DNS_FAILURE and operation in TOKENS:
        realm = f'Bearer realm="http://{NOWHERE}/token",service="embedded"'
        own[-1] = _changed(cell, "head manifest", "", WWW_Authenticate=realm)
    elif kind is Kind.DNS_FAILURE and operation in IN_SESSION:
        own[-1] = _changed(cell, "start upload", layer.digest.hex, Location=f"http://{NOWHERE}/upload")
    return Arranged(tuple(own), tuple(other))


def _changed(cell: Cell, route: str, match: str, **fields: str) -> ProxyFault:
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    times = None if cell.lasting else 1
    return ProxyFault(Action.HEADERS, Point.ANSWER_HEAD, route, match, times, headers=headers)


def _fault(cell: Cell, layer: MadeBlob, own_address: str) -> ProxyFault:
    operation, moment, kind = cell.operation, cell.moment, cell.kind
    route = _ROUTES[operation]
    blob = operation in DOWNLOADS | {Operation.START_UPLOAD, Operation.PUT_UPLOAD, Operation.PUT_SMALL}
    match = layer.digest.hex if blob and not (operation is Operation.START_UPLOAD and cell.lasting) else ""
    times = None if cell.lasting else 1
    body = operation in REQUEST_BODIES
    half = layer.size // 2 if operation in DOWNLOADS or operation in IN_SESSION else 20
    if operation is Operation.PATCH_UPLOAD:
        half = layer.size // 4
    point = {
        Moment.BEFORE_ANSWER: Point.BEFORE_ANSWER,
        Moment.IN_HEAD: Point.ANSWER_HEAD,
        Moment.BEFORE_BODY: Point.REQUEST_BODY if body else Point.ANSWER_BODY,
        Moment.IN_BODY: Point.REQUEST_BODY if body else Point.ANSWER_BODY,
        Moment.AFTER: Point.AFTER,
        Moment.CONNECT: Point.BEFORE_ANSWER,
    }[moment]
    depth = half if moment is Moment.IN_BODY else 0
    if kind is Kind.WRONG_BYTE and operation in TOKENS | {Operation.LIST_TAGS}:
        depth = 0  # nothing vouches for these bytes: only what is no JSON any more can be seen
    if moment is Moment.CONNECT and kind is not Kind.DNS_FAILURE:
        action = _CONNECTS[kind]
        return ProxyFault(Action.RESET, point, route, match, times, on_connect=action, connects=times)
    if kind is Kind.WRONG_DIGEST:
        return _changed(cell, route, match, Docker_Content_Digest=WRONG_DIGEST)
    if kind is Kind.ANSWER_TWICE:
        return ProxyFault(Action.TWICE, Point.AFTER, route, match, times)
    if kind is Kind.LOST_ANSWER:
        return ProxyFault(Action.RESET, Point.LOST, route, match, times)
    if kind in _ACTIONS:
        speed = 2.0 * max(layer.size, 1000) if moment is Moment.IN_BODY else 1000.0
        return ProxyFault(_ACTIONS[kind], point, route, match, times, after_bytes=depth, bytes_per_s=speed)
    point = Point.LOST if moment is Moment.AFTER else point
    status, headers, text = _answer(kind, own_address)
    return ProxyFault(
        Action.ANSWER, point, route, match, times, after_bytes=depth, status=status, headers=headers, body=text
    )


def _answer(kind: Kind, own_address: str = "") -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Status, header fields and body of an answer of that kind."""
    if kind is Kind.DNS_FAILURE:
        return 307, (("Location", f"http://{NOWHERE}/v2/"),), b""
    if kind is Kind.REDIRECT_LOOP:
        return 307, (("Location", "{self}"),), b""
    if kind is Kind.HTML_PAGE:
        return 200, (_HTML,), _PAGE
    if kind is Kind.HTML_ERROR:
        return 502, (_HTML,), b"<html><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
    if kind is Kind.EXPIRED_SESSION:
        return 404, (_JSON,), _error("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    if kind is Kind.S401:
        challenge = f'Bearer realm="http://{own_address}/token",service="embedded"'
        return 401, (_JSON, ("WWW-Authenticate", challenge)), _error("UNAUTHORIZED", "authentication required")
    word = kind.value.partition(" ")[2]
    status = int(kind.value.partition(" ")[0])
    if status == 429:
        after = {"seconds": "1", "date": formatdate(usegmt=True), "bare": "", "HTML": ""}[word]
        fields = (("Retry-After", after),) if after else ()
        if word == "HTML":
            return 429, (_HTML,), b"<html><body>slow down</body></html>"
        return 429, (_JSON, *fields), _error("TOOMANYREQUESTS", "too many requests")
    return status, (_JSON,), _error(_CODES.get(status, "UNKNOWN"), "failed on purpose")


def _error(code: str, message: str) -> bytes:
    return f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'.encode()
