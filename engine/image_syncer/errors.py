"""The error taxonomy: everything that can go wrong, said for the person who has to act on it.

One tree under :class:`SyncError`. Each error knows its side (`origin`), its operation, what it was about (repository,
reference, digest) and whether trying again can help. What crosses a process is data (`to_data`, `from_data`), never a
pickled exception. Its fields do not change: what adds a side or a place makes a new error. Secrets and control
characters are removed when an error is made, not when it is printed.

Misuse of a state machine of the engine is not a `SyncError`: it raises `RuntimeError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from image_syncer.redaction import keep_out, redact, visible
from image_syncer.values import TextEnum, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "IntegrityError",
    "InternalError",
    "JournalError",
    "NotAskedError",
    "NotFoundError",
    "Origin",
    "PlaceError",
    "Problem",
    "ProtocolViolation",
    "RateLimitedError",
    "RefusedError",
    "RegistryDownError",
    "RegistryError",
    "SyncError",
    "TransportError",
    "UnavailableError",
    "WorkerError",
    "keep_out",
    "redact",
    "visible",
]


class PlaceError(OSError):
    """A place that cannot be used: what is wrong, and what to do. An OSError, which the process that serves the place
    reports to the one that started it; `parse` reads it.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}\n{mend}" if mend else what)
        self.what = what
        self.mend = mend

    @classmethod
    def parse(cls, text: str) -> PlaceError:
        """The error of which `text` is the text."""
        what, _, mend = text.partition("\n")
        return cls(what, mend)


class Origin(TextEnum):
    """The side on which something failed."""

    SOURCE = "source"
    DESTINATION = "destination"
    LOCAL = "local"


class Problem(Value, frozen=True):
    """One mistake in what the user wrote: where it is, what is wrong, what to write instead.

    `line` counts from 1; `key` is the path of the key inside the file, as the user would write it.
    """

    file: str
    line: int | None
    key: str | None
    what: str
    mend: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" [{self.key}]" if self.key else ""
        mend = f" → {self.mend}" if self.mend else ""
        return f"{place}{key}: {self.what}{mend}"


class SyncError(Exception):
    """Anything that keeps an image from arriving, or a run from starting.

    `message` says what failed and why; `hint` what to do. `origin`, `operation`, `repository` (with its registry),
    `reference` (tag or digest of the manifest) and `digest` (of the blob) say where. `tries` is how often it was tried;
    where that was more than once, `tried_for_s` is from the first begin to the last end, in seconds, and `history` has
    an entry for each try (of many, the first and the last ones): `at_s` when it failed, `what` with, and the `pause_s`
    after it.
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    can_pass: ClassVar[bool] = False
    """Whether trying again can help, where the error itself does not say otherwise."""
    _kinds: ClassVar[dict[str, type[SyncError]]] = {}
    _kept: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        SyncError._kinds[cls.kind] = cls

    def __init__(  # noqa: PLR0913 - public signature
        self,
        message: str,
        *,
        origin: Origin = Origin.LOCAL,
        operation: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        digest: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        tries: int = 1,
        tried_for_s: float | None = None,
        history: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.message: str = self._said(message)
        self.origin = origin
        self.operation = operation
        self.repository = repository
        self.reference = reference
        self.digest = digest
        self.hint: str | None = self._said(hint) if hint else None
        self.retryable: bool = self.can_pass if retryable is None else retryable
        self.tries = tries
        self.tried_for_s = tried_for_s
        self.history = history
        super().__init__(self.message)

    _FIELDS: ClassVar[tuple[str, ...]] = (
        "operation",
        "repository",
        "reference",
        "digest",
        "hint",
        "retryable",
        "tries",
        "tried_for_s",
        "history",
    )
    _extra: ClassVar[tuple[str, ...]] = ()
    """The fields of a child class."""

    @classmethod
    def _said(cls, text: str) -> str:
        return visible(redact(text), keep=cls._kept)

    def to_data(self) -> dict[str, Any]:
        """The error as plain data, for messages between processes and for the report."""
        data: dict[str, Any] = {"kind": self.kind, "message": self.message, "side": self.origin.value}
        for name in (*self._FIELDS, *self._extra):
            value = getattr(self, name)
            if value is not None:
                data[name] = value
        return data

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> SyncError:
        """The error that `to_data` described; an unknown kind becomes a plain `SyncError`."""
        cls = SyncError._kinds.get(str(data["kind"]), SyncError)
        names = (*cls._FIELDS, *cls._extra)
        fields = {name: data[name] for name in names if name in data}
        return cls(str(data["message"]), origin=Origin(data["side"]), **fields)

    def changed(self, **fields: Any) -> Self:
        """Return the error with these fields instead, with its cause, traceback and notes."""
        if fields.get("hint"):
            fields["hint"] = self._said(fields["hint"])
        changed = type(self).__new__(type(self), *self.args)
        changed.__dict__.update(self.__dict__)
        changed.__dict__.update(fields)
        changed.__cause__, changed.__suppress_context__ = self.__cause__, True
        return changed.with_traceback(self.__traceback__)

    def located(self, *, origin: Origin | None = None, **places: str | None) -> Self:
        """Return the error with the side and the places filled in that were unknown where it was raised."""
        missing: dict[str, Any] = {name: value for name, value in places.items() if getattr(self, name) is None}
        if origin is not None and self.origin is Origin.LOCAL:
            missing["origin"] = origin
        return self.changed(**missing) if missing else self

    def __setattr__(self, name: str, value: object) -> None:
        """A field is set once: who knows more makes a new error (`changed`, `located`)."""
        if name in self.__dict__ and not name.startswith("__"):
            raise AttributeError(f"{name} of an error cannot be changed")
        super().__setattr__(name, value)

    def __str__(self) -> str:
        where = [] if self.origin is Origin.LOCAL else [str(self.origin)]
        name = self.repository or ""
        if name and self.reference:
            name += ("@" if ":" in self.reference else ":") + self.reference
        where += [part for part in (name, self.digest) if part]
        head = f"{' '.join(where)}: " if where else ""
        tries = f" (tried {self.tries} times{self._how_long()})" if self.tries > 1 else ""
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"{head}{self.message}{tries}{hint}"

    def _how_long(self) -> str:
        seconds = self.tried_for_s
        return "" if seconds is None else f" in {seconds:.{int(seconds < 10)}f} s"  # noqa: PLR2004 - tenths of few count


class ConfigurationError(SyncError):
    """What the user wrote cannot be used; holds every problem that was found, not just the first."""

    kind = "configuration"
    exit_code = 2
    _kept = "\n"
    """A line for each problem, of which each is shown by itself."""

    def __init__(self, problems: Sequence[Problem] | str, **fields: Any) -> None:
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(problems)
        text = problems if isinstance(problems, str) else "\n".join(str(problem) for problem in problems)
        super().__init__(text, **fields)


_REGISTRY_FIELDS = ("request", "status", "codes", "retry_after_s", "request_ids")


class RegistryError(SyncError):
    """A registry answered, and the answer was not the one that was asked for.

    `request` is the method and URL without its query, `status` the HTTP status, `codes` the registry's own error codes
    (OCI distribution specification 1.1, "Error Codes"), `retry_after_s` the seconds of the pause that it asked for
    (RFC 9110 section 10.2.3), None where it did not. `request_ids` are what its operator finds this request by in his
    logs: header fields of the answer by name; None where it had none.
    """

    kind = "registry"
    _extra: ClassVar[tuple[str, ...]] = _REGISTRY_FIELDS

    def __init__(
        self,
        message: str,
        *,
        request: str | None = None,
        status: int | None = None,
        codes: Sequence[str] = (),
        retry_after_s: float | None = None,
        request_ids: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        self.request: str | None = self._said(request) if request else None
        self.status = status
        self.codes: tuple[str, ...] = tuple(codes)
        self.retry_after_s = retry_after_s
        self.request_ids = {name: self._said(text) for name, text in request_ids.items()} if request_ids else None
        super().__init__(message, **fields)


class AuthenticationError(RegistryError):
    """A registry or its token service did not accept who we are (401), or what we may do (403)."""

    kind = "authentication"


class NotFoundError(RegistryError):
    """The repository, manifest, blob or upload session is not there (404)."""

    kind = "not found"


class RefusedError(RegistryError):
    """The registry understood and said no (other 4xx): trying again will not help."""

    kind = "refused"


class RateLimitedError(RegistryError):
    """The registry asked for a pause (429)."""

    kind = "rate limited"
    can_pass = True


class NotAskedError(RegistryError):
    """The request was not sent, because the registry had asked for a pause of `retry_after_s`."""

    kind = "not asked"
    can_pass = True


class UnavailableError(RegistryError):
    """The registry, or a proxy in front of it, failed (5xx, 408, 499): trying again can help."""

    kind = "unavailable"
    can_pass = True


class RegistryDownError(RegistryError):
    """A registry was down for so long that it was given up: nothing more is asked of it in this run.

    `registry` is its name, `since` when it was last seen to answer no more (ISO 8601, UTC).
    """

    kind = "registry down"
    _extra = ("registry", "since", *_REGISTRY_FIELDS)

    def __init__(self, message: str, *, registry: str | None = None, since: str | None = None, **fields: Any) -> None:
        self.registry = registry
        self.since = since
        super().__init__(message, **fields)


class ProtocolViolation(RegistryError):  # noqa: N818 - the field's word: the peer broke the rules
    """The registry's answer breaks the OCI distribution specification in a way that cannot be worked around."""

    kind = "protocol violation"


class TransportError(SyncError):
    """No complete answer came: name resolution, connection, TLS, time-out, reset.

    `phase` is one of "resolve", "connect", "tls", "send", "receive", "timeout", and "gone" for a process of ours that
    has ended; `curl_code` is libcurl's CURLcode.
    """

    kind = "transport"
    can_pass = True
    _extra = ("phase", "curl_code", "request")

    def __init__(
        self,
        message: str,
        *,
        phase: str | None = None,
        curl_code: int | None = None,
        request: str | None = None,
        **fields: Any,
    ) -> None:
        self.phase = phase
        self.curl_code = curl_code
        self.request: str | None = self._said(request) if request else None
        super().__init__(message, **fields)


class IntegrityError(SyncError):
    """Bytes are not what their digest or size says. Sizes in bytes."""

    kind = "integrity"
    _extra = ("expected", "actual")

    def __init__(self, message: str, *, expected: str | None = None, actual: str | None = None, **fields: Any) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(message, **fields)


class InternalError(SyncError):
    """An internal error of image-syncer: what it says it did cannot be relied on."""

    kind = "internal"
    exit_code = 70
    """EX_SOFTWARE of sysexits.h."""


class WorkerError(SyncError):
    """A worker process died or fell silent while it held the blob."""

    kind = "worker"
    can_pass = True


class JournalError(SyncError):
    """The journal of `--state` cannot be used: it is another run's, of other settings, damaged, or none at all."""

    kind = "journal"
    exit_code = 2
