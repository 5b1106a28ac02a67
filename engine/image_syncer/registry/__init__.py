"""What is said to a registry and what it answers, as plain data: requests are built, answers parsed, nothing
sent.

One module for each noun of the OCI distribution specification 1.1 and of Docker's token authentication.
"""

from __future__ import annotations

from image_syncer.registry.blobs import BlobRange, build_get_blob, build_head_blob, parse_blob_range
from image_syncer.registry.challenge import Challenge, build_ping, parse_challenges, rank_challenges
from image_syncer.registry.content import content_digest, content_length, is_page
from image_syncer.registry.endpoint import (
    DIRECT,
    NO_PROXY,
    PROXY_SCHEMES,
    Endpoint,
    Network,
    candidate_endpoints,
    environment_proxies,
    parse_proxy,
    shown_proxy,
)
from image_syncer.registry.failures import is_retryable_status, parse_failure
from image_syncer.registry.hints import NO_REGISTRY_HINT, denial_hint
from image_syncer.registry.location import (
    append_query,
    origin_of,
    resolve_location,
    resolve_own_location,
    same_origin,
    without_query,
)
from image_syncer.registry.manifests import (
    ManifestHead,
    build_get_manifest,
    build_head_manifest,
    build_put_manifest,
    parse_manifest_head,
    parse_put_manifest,
)
from image_syncer.registry.message import Headers, Operation, Request, Response
from image_syncer.registry.mirror import say_whose
from image_syncer.registry.pagination import MAX_PAGE_SIZE
from image_syncer.registry.profiles import (
    GENERIC,
    OVERRIDABLE_FLAGS,
    OVERRIDABLE_SIZES,
    PROFILES,
    Creation,
    Limit,
    Listing,
    Meaning,
    Mounts,
    Profile,
    profile_to_text,
    recognise_answer,
    recognise_host,
)
from image_syncer.registry.rate_limit import Allowance, parse_allowance
from image_syncer.registry.redirect import (
    MAX_REDIRECTS,
    REDIRECT_STATUSES,
    follow_redirect,
    may_carry_credentials,
    resolve_redirect,
)
from image_syncer.registry.redirect_policy import STRICT, RedirectPolicy
from image_syncer.registry.retry_after import MAX_RETRY_AFTER_S, retry_after_s
from image_syncer.registry.scope import CATALOG_SCOPE, Scope, pull_scope, push_scope
from image_syncer.registry.tokens import (
    DEFAULT_EXPIRES_IN_S,
    Credential,
    Token,
    basic_authorization,
    build_token_request,
    parse_token,
    realm_allowed,
)
from image_syncer.registry.uploads import (
    Mounted,
    UploadSession,
    UploadStatus,
    build_cancel_upload,
    build_get_upload,
    build_patch_upload,
    build_put_upload,
    build_start_upload,
    parse_patch_upload,
    parse_put_upload,
    parse_start_upload,
    parse_upload_status,
)

__all__ = [
    "CATALOG_SCOPE",
    "DEFAULT_EXPIRES_IN_S",
    "DIRECT",
    "GENERIC",
    "MAX_PAGE_SIZE",
    "MAX_REDIRECTS",
    "MAX_RETRY_AFTER_S",
    "NO_PROXY",
    "NO_REGISTRY_HINT",
    "OVERRIDABLE_FLAGS",
    "OVERRIDABLE_SIZES",
    "PROFILES",
    "PROXY_SCHEMES",
    "REDIRECT_STATUSES",
    "STRICT",
    "Allowance",
    "BlobRange",
    "Challenge",
    "Creation",
    "Credential",
    "Endpoint",
    "Headers",
    "Limit",
    "Listing",
    "ManifestHead",
    "Meaning",
    "Mounted",
    "Mounts",
    "Network",
    "Operation",
    "Profile",
    "RedirectPolicy",
    "Request",
    "Response",
    "Scope",
    "Token",
    "UploadSession",
    "UploadStatus",
    "append_query",
    "basic_authorization",
    "build_cancel_upload",
    "build_get_blob",
    "build_get_manifest",
    "build_get_upload",
    "build_head_blob",
    "build_head_manifest",
    "build_patch_upload",
    "build_ping",
    "build_put_manifest",
    "build_put_upload",
    "build_start_upload",
    "build_token_request",
    "candidate_endpoints",
    "content_digest",
    "content_length",
    "denial_hint",
    "environment_proxies",
    "follow_redirect",
    "is_page",
    "is_retryable_status",
    "may_carry_credentials",
    "origin_of",
    "parse_allowance",
    "parse_blob_range",
    "parse_challenges",
    "parse_failure",
    "parse_manifest_head",
    "parse_patch_upload",
    "parse_proxy",
    "parse_put_manifest",
    "parse_put_upload",
    "parse_start_upload",
    "parse_token",
    "parse_upload_status",
    "profile_to_text",
    "pull_scope",
    "push_scope",
    "rank_challenges",
    "realm_allowed",
    "recognise_answer",
    "recognise_host",
    "resolve_location",
    "resolve_own_location",
    "resolve_redirect",
    "retry_after_s",
    "same_origin",
    "say_whose",
    "shown_proxy",
    "without_query",
]
