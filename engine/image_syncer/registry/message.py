"""What is said to a registry and what it answers, as plain data: nothing here opens a connection.

The shell adds `Authorization`, `User-Agent` and `Host`; everything else that a request needs stands in it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, overload

from image_syncer.registry.location import without_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.oci import Repository
    from image_syncer.registry.scope import Scope

__all__ = ["Headers", "Operation", "Request", "Response"]


class Operation(str, Enum):
    """The kinds of requests; the values are the words of reports, counters and errors."""

    HEAD_MANIFEST = "head manifest"
    GET_MANIFEST = "get manifest"
    PUT_MANIFEST = "put manifest"
    HEAD_BLOB = "head blob"
    GET_BLOB = "get blob"
    START_UPLOAD = "start upload"
    PATCH_UPLOAD = "patch upload"
    PUT_UPLOAD = "put upload"
    GET_UPLOAD = "get upload"
    CANCEL_UPLOAD = "cancel upload"
    DELETE_MANIFEST = "delete manifest"
    DELETE_BLOB = "delete blob"
    LIST_TAGS = "list tags"
    LIST_CATALOG = "list catalog"
    LIST_REFERRERS = "list referrers"
    GET_TOKEN = "get token"  # noqa: S105 - the name of an operation, no secret
    PING = "ping"
    FIND_PROJECT = "find project"
    CREATE_PROJECT = "create project"

    def __str__(self) -> str:
        return self.value


class Headers:
    """Header fields of an answer: any case, any number of values for a name (RFC 9110, section 5.1).

    Values are text in ISO-8859-1 (section 5.5), so that a character is a byte of the wire. Made for every answer and
    read for many, so the lines of a head are taken apart only when a field is asked for.
    """

    __slots__ = ("_fields", "_first", "_text")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._text = ""
        self._fields: list[tuple[str, str]] | None = list(fields)
        self._first: dict[str, str] | None = {name.lower(): value for name, value in reversed(self._fields)}

    @classmethod
    def of_lines(cls, lines: list[bytes]) -> Headers:
        """The fields in the lines of a head, each with its end of line; what has no colon is no field."""
        self = cls.__new__(cls)
        self._text = b"".join(lines).decode("latin-1")
        self._fields = self._first = None
        return self

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of the field `name`, or `default`."""
        first = self._first
        if first is None:
            first = self._first = {}
            for line in self._text.split("\n"):  # splitlines() knows ends of line that are bytes of a value here
                given, colon, value = line.partition(":")
                if colon:
                    first.setdefault(given.strip().lower(), value.strip())
        return first.get(name.lower(), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of the field `name` in the order of the answer; empty where there is none."""
        wanted = name.lower()
        return [value for given, value in self._all() if given.lower() == wanted]

    def mention(self, word: str) -> bool:
        """Whether `word`, in lower case, stands anywhere in the fields: cheap enough to be asked of every answer."""
        if self._text:
            return word in self._text.lower()
        return any(word in name.lower() for name, _ in self._all())

    def items(self) -> list[tuple[str, str]]:
        """Every field as it came, in order."""
        return list(self._all())

    def _all(self) -> list[tuple[str, str]]:
        if self._fields is None:
            parts = [line.partition(":") for line in self._text.split("\n")]
            self._fields = [(name.strip(), value.strip()) for name, colon, value in parts if colon]
        return self._fields

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __repr__(self) -> str:
        # Names only: values hold cookies, signed addresses and tokens.
        return f"Headers({', '.join(dict.fromkeys(name.lower() for name, _ in self._all()))})"


class Request(NamedTuple):
    """One request to a registry or its token service.

    `body` is sent as it is, with its length; an empty one is sent as `Content-Length: 0`. Where `body` is
    None and the headers say `Content-Length`, the bytes come from elsewhere: the upload's stream. `scopes`
    are the rights to ask a token for; none means that nothing is owed to that host. A named tuple, because
    one is made for every request: that costs a third of what a frozen dataclass does.
    """

    operation: Operation
    method: str
    url: str
    repository: Repository | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    scopes: tuple[Scope, ...] = ()

    @property
    def line(self) -> str:
        """Method and URL without its query, which may be signed: "GET https://host/v2/x/tags/list"."""
        return f"{self.method} {without_query(self.url)}"

    def __repr__(self) -> str:
        # Headers and body of a token request are the password.
        return f"Request({self.operation}: {self.line})"


class Response(NamedTuple):
    """One answer: `url` is the address that answered, after redirects; `body` the bytes as they came, never
    decoded.
    """

    status: int
    headers: Headers
    body: bytes
    url: str

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes, {without_query(self.url)})"
