"""What is said to a registry and what it answers, as plain data: requests are built, answers parsed, nothing
sent.

One module for each noun of the OCI distribution specification 1.1 and of Docker's token authentication.
"""

from __future__ import annotations

from image_syncer.registry.blobs import BlobRange, build_get_blob, build_head_blob, parse_blob_range
from image_syncer.registry.catalog import CatalogPage, build_list_catalog, parse_catalog_page
from image_syncer.registry.challenge import Challenge, build_ping, parse_challenges, rank_challenges
from image_syncer.registry.content import content_digest, content_length, is_page
from image_syncer.registry.deletion import build_delete_blob, build_delete_manifest
from image_syncer.registry.endpoint import Endpoint, candidate_endpoints
from image_syncer.registry.failures import is_retryable_status, parse_failure
from image_syncer.registry.gitlab_repositories import (
    build_list_gitlab_repositories,
    find_gitlab,
    parse_gitlab_repositories,
)
from image_syncer.registry.harbor_projects import (
    PROJECT_ABSENT,
    PROJECT_CREATED,
    PROJECT_TAKEN,
    PROJECT_THERE,
    build_create_project,
    build_head_project,
    project_of,
)
from image_syncer.registry.harbor_repositories import build_list_harbor_repositories, parse_harbor_repositories
from image_syncer.registry.hints import NO_REGISTRY_HINT, denial_hint
from image_syncer.registry.hub_repositories import build_list_hub_repositories, parse_hub_repositories
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
from image_syncer.registry.network import DIRECT, NO_PROXY, Network
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
from image_syncer.registry.proxy import PROXY_SCHEMES, environment_proxies, parse_proxy, shown_proxy
from image_syncer.registry.rate_limit import Allowance, parse_allowance
from image_syncer.registry.redirect import (
    MAX_REDIRECTS,
    REDIRECT_STATUSES,
    follow_redirect,
    may_carry_credentials,
    resolve_redirect,
)
from image_syncer.registry.redirect_policy import STRICT, RedirectPolicy
from image_syncer.registry.referrers import (
    COSIGN_TYPES,
    NO_REFERRERS_API,
    ReferrerEntry,
    ReferrerPage,
    build_list_referrers,
    cosign_tags,
    describe_referrer,
    fallback_tag,
    is_attached_tag,
    is_fallback_tag,
    merge_referrers,
    parse_referrers,
    read_referrers,
    takes_subject,
)
from image_syncer.registry.retry_after import MAX_RETRY_AFTER_S, retry_after_s
from image_syncer.registry.scope import CATALOG_SCOPE, Scope, pull_scope, push_scope
from image_syncer.registry.tags import TagPage, build_list_tags, parse_tag_page
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
    "COSIGN_TYPES",
    "DEFAULT_EXPIRES_IN_S",
    "DIRECT",
    "GENERIC",
    "MAX_PAGE_SIZE",
    "MAX_REDIRECTS",
    "MAX_RETRY_AFTER_S",
    "NO_PROXY",
    "NO_REFERRERS_API",
    "NO_REGISTRY_HINT",
    "OVERRIDABLE_FLAGS",
    "OVERRIDABLE_SIZES",
    "PROFILES",
    "PROJECT_ABSENT",
    "PROJECT_CREATED",
    "PROJECT_TAKEN",
    "PROJECT_THERE",
    "PROXY_SCHEMES",
    "REDIRECT_STATUSES",
    "STRICT",
    "Allowance",
    "BlobRange",
    "CatalogPage",
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
    "ReferrerEntry",
    "ReferrerPage",
    "Request",
    "Response",
    "Scope",
    "TagPage",
    "Token",
    "UploadSession",
    "UploadStatus",
    "append_query",
    "basic_authorization",
    "build_cancel_upload",
    "build_create_project",
    "build_delete_blob",
    "build_delete_manifest",
    "build_get_blob",
    "build_get_manifest",
    "build_get_upload",
    "build_head_blob",
    "build_head_manifest",
    "build_head_project",
    "build_list_catalog",
    "build_list_gitlab_repositories",
    "build_list_harbor_repositories",
    "build_list_hub_repositories",
    "build_list_referrers",
    "build_list_tags",
    "build_patch_upload",
    "build_ping",
    "build_put_manifest",
    "build_put_upload",
    "build_start_upload",
    "build_token_request",
    "candidate_endpoints",
    "content_digest",
    "content_length",
    "cosign_tags",
    "denial_hint",
    "describe_referrer",
    "environment_proxies",
    "fallback_tag",
    "find_gitlab",
    "follow_redirect",
    "is_attached_tag",
    "is_fallback_tag",
    "is_page",
    "is_retryable_status",
    "may_carry_credentials",
    "merge_referrers",
    "origin_of",
    "parse_allowance",
    "parse_blob_range",
    "parse_catalog_page",
    "parse_challenges",
    "parse_failure",
    "parse_gitlab_repositories",
    "parse_harbor_repositories",
    "parse_hub_repositories",
    "parse_manifest_head",
    "parse_patch_upload",
    "parse_proxy",
    "parse_put_manifest",
    "parse_put_upload",
    "parse_referrers",
    "parse_start_upload",
    "parse_tag_page",
    "parse_token",
    "parse_upload_status",
    "profile_to_text",
    "project_of",
    "pull_scope",
    "push_scope",
    "rank_challenges",
    "read_referrers",
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
    "takes_subject",
    "without_query",
]
