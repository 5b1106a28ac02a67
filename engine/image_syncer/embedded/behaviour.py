"""Behaviours: the switches that make the embedded registry act like other registries, or fail on cue.

A `Behaviour` is a value. The server reads it anew for every request, so it can be replaced while the server runs;
replacing it resets the counts of its faults and limits.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations
from typing import Any

import msgspec
from msgspec import field

from image_syncer.values import TextEnum, Value, repr_without


class FaultKind(TextEnum):
    """How a request fails.

    STATUS answers with a status and a body. RESET cuts the connection after a number of bytes of the body (of a GET:
    sent, of a PUT or PATCH: received; without a body: before the answer). LOST_ANSWER serves the request and then cuts
    the connection. The others concern GET of a blob: WRONG_BYTES flips a byte (and adds a blank to a manifest),
    SHORT_BODY ends before its Content-Length, STALL stops sending and keeps the connection, UNTOLD_LENGTH has no
    Content-Length and sends `after_bytes` more than the blob has.
    """

    STATUS = "status"
    RESET = "reset"
    LOST_ANSWER = "lost answer"
    WRONG_BYTES = "wrong bytes"
    SHORT_BODY = "short body"
    STALL = "stall"
    UNTOLD_LENGTH = "untold length"


class Fault(Value, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A fault of requests of the kind `operation` ("*": any) whose path contains `match`.

    The first `skip` of them pass, the next `times` fail (None: all that follow). `after_bytes` is the offset in the
    body at which a fault in mid-stream happens. `status`, `body`, `content_type` and `headers` are the answer of a
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
    """The form of Retry-After in a 429."""

    SECONDS = "seconds"
    DATE = "date"
    NONE = "none"


class RateLimit(Value, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Answers 429 to requests of the kinds in `operations` (empty: all) beyond the limit.

    `burst` requests pass at once, then `per_s` per second (0: none). With `times`, at most that many are refused.
    """

    operations: tuple[str, ...] = ()
    burst: int = 0
    per_s: float = 0.0
    times: int | None = None
    retry_after: RetryAfter = RetryAfter.SECONDS
    retry_after_s: int = 1
    body: str | None = None


class TokenService(Value, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A Bearer token service at `path`, on the registry's own address or on its companion's.

    Tokens last `expires_in_s` seconds (and for `max_uses` requests) and grant the requested actions without the
    `withheld` ones, or only the first scope. `identity_tokens` maps refresh tokens to user names.
    `insufficient_status` (401 or 403) answers a token that does not cover a request. With `one_scope`, challenges
    always ask for that scope, and every token covers all rights of its user.
    """

    expires_in_s: int = 300
    say_expiry: bool = True
    max_uses: int | None = None
    on_companion: bool = False
    service: str | None = "embedded"
    field_names: tuple[str, ...] = ("token",)
    withheld: tuple[str, ...] = ()
    first_scope_only: bool = False
    identity_tokens: Mapping[str, str] = field(default_factory=dict)
    insufficient_status: int = 401
    path: str = "/token"
    one_scope: str | None = None

    __repr__ = repr_without("identity_tokens")


class LocationForm(TextEnum):
    """The form of an upload session's Location; COMPANION sends the body to the second address."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    WITHOUT_SCHEME = "without scheme"
    COMPANION = "companion"


class LinkForm(TextEnum):
    """The form of a listing's Link header; OTHER_HOST names the companion, MISSING cuts the list off."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    OTHER_HOST = "other host"
    MISSING = "missing"


class PageMarker(TextEnum):
    """How the next page of a listing is named: by the last NAME in `last`, by the NUMBER of the previous entries in
    `last`, or by an OPAQUE word in `next_page`, which ignores `last`.
    """

    NAME = "name"
    NUMBER = "number"
    OPAQUE = "opaque"


class DigestHeader(TextEnum):
    """The value of Docker-Content-Digest."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"


class Behaviour(Value, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the registry behaves. The defaults follow the specification.

    Access
        `users` (name → password) log in by Basic, or at the token service `bearer`. `permissions` (name → actions)
        limits the rights of a user, `anonymous` are the rights without a user. `extra_challenges` come before the
        registry's own, in one header with it if `one_challenge_header`; with `challenge_on_ping_only` no other 401 has
        one. `basic_beside_bearer` accepts a password instead of a token. `basic_realm` is the realm of the Basic
        challenge. `list_action` is the action that a tag list needs.
    Kind
        `double` names the registry to imitate: rules beyond these switches, see `embedded.doubles`.
    Trouble
        `faults`, `rate_limits`, `latency_s` before each answer, `bandwidth_bytes_per_s` of each blob body,
        `idle_timeout_s` after which a stalled body is cut.
    Blobs
        `redirect_blobs` answers GET with `redirect_status` to the companion, whose signed URLs serve
        `redirect_uses` requests. `ranges` off ignores Range.
    Uploads
        `single_post` off ignores the body and digest of a POST; `chunked_uploads` off answers PATCH with 405;
        `patch_status` and `put_status` are the statuses of success; `chunk_min_bytes` is announced as
        OCI-Chunk-Min-Length; `strict_state` refuses a Location that is not the newest (416); `location_query` is added
        to every Location; `upload_expiry_s` ends sessions; `keep_partial` keeps the bytes before a cut;
        `max_content_length` answers longer bodies with 413. `content_range` off ignores that header; `single_put` off
        refuses a PUT with the whole blob. `upload_prefix` is a path for sessions outside the repository.
    Mounts
        `mounts` off opens a session instead; `mount_status` answers every mount with that status;
        `mount_without_from` finds the blob anywhere; `mount_needs_manifest` mounts only blobs that a manifest of that
        repository names.
    Capacity
        `capacity_bytes` of distinct content, then `full_status` (507 or 500) reports a full disk.
    Manifests and tags
        `check_references` refuses manifests with missing blobs or children; `max_manifest_bytes`; `accepts_schema1`;
        `strict_accept` finds nothing unless Accept has the media type; `immutable_tags` answers 412; `deletes` off
        answers 405; `digest_header_on_get` (HEAD too) and `digest_header_on_put`; `null_tag_list` for an empty list;
        `default_page_size` without `n`; `max_page_size` for a larger `n` (`page_limit_status` refuses it instead);
        `tag_pages` off sends all tags whatever `n` says; `page_marker`; `link_form`; `referrers` off answers 404;
        `implicit_repositories` off answers 404 NAME_UNKNOWN for a repository that was not created;
        `implicit_projects` off does so for the projects of a double that has them; `pull_limit` is the number of
        manifests that can be read before a double that counts pulls refuses.
    """

    users: Mapping[str, str] = field(default_factory=dict)
    permissions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    anonymous: tuple[str, ...] = ()
    bearer: TokenService | None = None
    extra_challenges: tuple[str, ...] = ()
    one_challenge_header: bool = False
    challenge_on_ping_only: bool = False
    basic_beside_bearer: bool = False
    basic_realm: str = "embedded registry"
    list_action: str = "pull"

    double: str = ""

    faults: tuple[Fault, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    latency_s: float = 0.0
    bandwidth_bytes_per_s: float | None = None
    idle_timeout_s: float | None = None

    redirect_blobs: bool = False
    redirect_status: int = 307
    redirect_uses: int | None = None
    ranges: bool = True

    single_post: bool = True
    chunked_uploads: bool = True
    patch_status: int = 202
    put_status: int = 201
    chunk_min_bytes: int = 0
    strict_state: bool = True
    location_form: LocationForm = LocationForm.RELATIVE
    location_query: str = ""
    upload_expiry_s: float | None = None
    keep_partial: bool = True
    max_content_length: int | None = None
    content_range: bool = True
    single_put: bool = True
    upload_prefix: str = ""

    mounts: bool = True
    mount_status: int | None = None
    mount_without_from: bool = False
    mount_needs_manifest: bool = False

    capacity_bytes: int | None = None
    full_status: int = 507

    check_references: bool = True
    max_manifest_bytes: int = 4 * 2**20
    accepts_schema1: bool = True
    strict_accept: bool = False
    immutable_tags: bool = False
    deletes: bool = True
    digest_header_on_get: DigestHeader = DigestHeader.RIGHT
    digest_header_on_put: DigestHeader = DigestHeader.RIGHT
    null_tag_list: bool = False
    default_page_size: int | None = None
    max_page_size: int = 1000
    page_limit_status: int | None = None
    link_form: LinkForm = LinkForm.RELATIVE
    tag_pages: bool = True
    page_marker: PageMarker = PageMarker.NAME
    referrers: bool = True
    implicit_repositories: bool = True
    implicit_projects: bool = True
    pull_limit: int | None = None

    __repr__ = repr_without("users")

    @property
    def needs_companion(self) -> bool:
        """Whether the registry needs a second address."""
        return (
            self.redirect_blobs
            or self.location_form is LocationForm.COMPANION
            or self.link_form is LinkForm.OTHER_HOST
            or (self.bearer is not None and self.bearer.on_companion)
        )


def behaviour_to_data(behaviour: Behaviour) -> dict[str, Any]:
    """Return the fields that differ from the defaults as plain data (for JSON)."""
    data: dict[str, Any] = msgspec.to_builtins(behaviour)
    return data


def decode_behaviour(data: Mapping[str, Any]) -> Behaviour:
    """Return the behaviour in `data`. Raises ValueError for unknown names or values; does not look up `double`."""
    try:
        return msgspec.convert(data, Behaviour)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a behaviour: {error}") from error
