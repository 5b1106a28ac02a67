"""Behaviours: the switches that make the embedded registry act like the registries of the world, or fail on
cue.

A `Behaviour` is a value; the server looks at it anew for every request, so it can be replaced while it runs.
Replacing it winds up its faults and limits again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.embedded.fault import TextEnum
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.embedded.fault import Fault, RateLimit

__all__ = ["Behaviour", "DigestHeader", "LinkForm", "LocationForm", "PageMarker", "TokenService"]


class TokenService(Value, frozen=True):
    """A Bearer token service at `/token`, on the registry's own address or on its companion's.

    Tokens last `expires_in_s` seconds (and for `max_uses` requests), grant what was asked for less the
    `withheld` actions, or only the first scope. `identity_tokens` maps refresh tokens to user names.
    `insufficient_status` (401 or 403) answers a token that does not cover a request. `path` is where the service is;
    with `one_scope`, challenges ask for that scope whatever is wanted, and every token is good for everything that its
    user may do.
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
    """How the Location of an upload session is written; COMPANION sends the body to the second address."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    WITHOUT_SCHEME = "without scheme"
    COMPANION = "companion"


class LinkForm(TextEnum):
    """How the Link header of a listing is written; OTHER_HOST names the companion, MISSING leaves the list
    cut off.
    """

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    OTHER_HOST = "other host"
    MISSING = "missing"


class PageMarker(TextEnum):
    """How a listing is gone on with: after a NAME in `last`, after so many (NUMBER) in `last`, or by a word in
    `next_page` that only the registry understands (OPAQUE), which then ignores `last`.
    """

    NAME = "name"
    NUMBER = "number"
    OPAQUE = "opaque"


class DigestHeader(TextEnum):
    """What stands in Docker-Content-Digest."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"


class Behaviour(Value, frozen=True):
    """How the registry behaves. The defaults are those of a registry that keeps to the specification.

    Access
        `users` (name → password): asked for by Basic, or by the token service where there is `bearer`.
        `permissions` (name → actions) narrows what a user may do, `anonymous` is what needs no user.
        `extra_challenges` are sent before the registry's own, in one header with it where
        `one_challenge_header`; with `challenge_on_ping_only` no other 401 has one. `basic_beside_bearer` takes a
        password where a token is asked for. `basic_realm` is what the Basic challenge says. `list_action` is the
        action that a list of tags needs.
    Kind
        `double` names the registry that is doubled: rules beyond these switches, see `embedded.doubles`.
    Trouble
        `faults`, `rate_limits`, `latency_s` before each answer, `bandwidth_bytes_per_s` of each blob body,
        `idle_timeout_s` after which a body that does not move is cut.
    Blobs
        `redirect_blobs` answers GET with `redirect_status` to the companion, whose signed URLs serve
        `redirect_uses` requests. `ranges` off ignores Range.
    Uploads
        `single_post` off ignores the body and digest of a POST; `chunked_uploads` off answers PATCH with 405;
        `patch_status` and `put_status` are what success looks like; `chunk_min_bytes` is announced as
        OCI-Chunk-Min-Length; `strict_state` refuses a Location that is not the newest (416); `location_query`
        is added to every Location; `upload_expiry_s` ends sessions; `keep_partial` says whether the bytes
        before a cut survive; `max_content_length` answers longer bodies with 413. `content_range` off ignores that
        header; `single_put` off refuses a PUT that brings the whole blob. `upload_prefix` is a path of its own for
        sessions, instead of the repository's.
    Mounts
        `mounts` off opens a session instead; `mount_status` answers every mount with that status;
        `mount_without_from` finds the blob anywhere; `mount_needs_manifest` mounts only blobs that a manifest
        of that repository names.
    Room
        `capacity_bytes` of distinct content, after which `full_status` (507 or 500) says that no space is
        left.
    Manifests and tags
        `check_references` refuses manifests whose blobs or children are missing; `max_manifest_bytes`;
        `accepts_schema1`; `strict_accept` finds nothing where Accept does not name the media type;
        `immutable_tags` answers 412; `deletes` off answers 405; `digest_header_on_get` (HEAD too) and
        `digest_header_on_put`; `null_tag_list` for an empty list; `default_page_size` where no `n` is given;
        `max_page_size` for a larger `n` (`page_limit_status` refuses it instead); `tag_pages` off sends all tags
        whatever `n` says; `page_marker`; `link_form`; `referrers`
        off answers 404; `implicit_repositories` off answers 404 NAME_UNKNOWN where nobody created the
        repository; `implicit_projects` off lets a double that has projects do so for those; `pull_limit` is how
        many manifests may be read before a double that counts pulls refuses.
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
        """Whether a second address is needed."""
        return (
            self.redirect_blobs
            or self.location_form is LocationForm.COMPANION
            or self.link_form is LinkForm.OTHER_HOST
            or (self.bearer is not None and self.bearer.on_companion)
        )
