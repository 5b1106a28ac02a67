"""Referrers: manifests that name another one as their subject, and how they are found (OCI distribution specification
1.1, sections "Listing Referrers" and "Referrers Tag Schema"); and the tags that cosign made of digests before that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import OCI_INDEX, Digest, InvalidManifest, Manifest, ManifestKind, parse_manifest
from image_syncer.registry.content import is_page
from image_syncer.registry.location import without_query
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.registry.pagination import next_page_url
from image_syncer.registry.scope import pull_scope
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.oci import Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = [
    "COSIGN_TYPES",
    "NO_REFERRERS_API",
    "ReferrerEntry",
    "ReferrerPage",
    "build_list_referrers",
    "cosign_tags",
    "describe_referrer",
    "fallback_tag",
    "is_attached_tag",
    "is_fallback_tag",
    "merge_referrers",
    "parse_referrers",
    "read_referrers",
    "takes_subject",
]

NO_REFERRERS_API = (404, 405, 400)
"""What registries answer that do not list referrers: the specification says 404; some refuse the method, or the path
as one that they do not know."""

COSIGN_TYPES = {
    ".sig": "application/vnd.dev.cosign.artifact.sig.v1+json",
    ".att": "application/vnd.dev.cosign.artifact.att.v1+json",
    ".sbom": "application/vnd.dev.cosign.artifact.sbom.v1+json",
}
"""The endings of cosign's tags, and the artifact type that cosign gives the same thing where it is a referrer
(https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and cosign's pkg/oci/remote/options.go)."""

_MAX_ALGORITHM_CHARACTERS = 32
_MAX_ENCODED_CHARACTERS = 64
_NOT_IN_TAGS = re.compile(r"[^\w.-]", re.ASCII)
_FALLBACK = re.compile(r"sha(?:256|384|512)-[0-9a-f]{64}")
_ATTACHED = re.compile(r"sha(?:256|384|512)-[0-9a-f]{64,128}(?:\.(?:sig|att|sbom))?")
_NO_INDEX = "the list of referrers is no index"


class ReferrerEntry(Value, frozen=True):
    """One manifest in a list of referrers; `described` is what the list says of it, as it stands there.

    `artifact_type` and `annotations` are those of the manifest: None and empty where the list is silent.
    """

    digest: Digest
    artifact_type: str | None
    annotations: Mapping[str, str]
    described: dict[str, Any]

    __repr__ = repr_without("described")


class ReferrerPage(Value, frozen=True):
    """Some referrers, and the address of the next page, None after the last. `filtered`: the registry has left out
    what is of another artifact type (`OCI-Filters-Applied`).
    """

    entries: tuple[ReferrerEntry, ...]
    next_url: str | None = None
    filtered: bool = False


def build_list_referrers(
    endpoint: Endpoint,
    repository: Repository,
    subject: Digest,
    *,
    artifact_type: str | None = None,
    next_url: str | None = None,
) -> Request:
    """Ask for the referrers of `subject`, those of one artifact type or all, or for the page at `next_url` (section
    "Listing Referrers", end-12a and end-12b).
    """
    url = next_url or f"{endpoint.base_url}/v2/{repository.name}/referrers/{subject}"
    if next_url is None and artifact_type is not None:
        url += f"?{urlencode({'artifactType': artifact_type})}"
    headers = (("Accept", OCI_INDEX),)
    return Request(Operation.LIST_REFERRERS, "GET", url, repository, headers=headers, scopes=(pull_scope(repository),))


def parse_referrers(response: Response, request_url: str) -> ReferrerPage | None:
    """The referrers of one page; None where the registry has no such API, and the fallback tag has to be read.

    A page for people is what registries answer whose web page takes every path that they do not know. Raises
    `ProtocolViolation` for anything else that is no index, and for a next page on another host.
    """
    if response.status in NO_REFERRERS_API or is_page(response):
        return None
    try:
        entries = read_referrers(parse_manifest(response.body, OCI_INDEX))
    except InvalidManifest as error:
        raise ProtocolViolation(
            f"{_NO_INDEX}: {error}",
            origin=Origin.SOURCE,
            operation=Operation.LIST_REFERRERS.value,
            request=f"GET {without_query(request_url)}",
            status=response.status,
        ) from None
    applied = response.headers.get("OCI-Filters-Applied", "")
    filtered = "artifacttype" in {name.strip().lower() for name in applied.split(",")}
    return ReferrerPage(entries, next_page_url(response, request_url), filtered)


def read_referrers(index: Manifest) -> tuple[ReferrerEntry, ...]:
    """The entries of a list of referrers, each digest once. Raises InvalidManifest where it is no index."""
    if index.kind is not ManifestKind.INDEX:
        raise InvalidManifest(f"{_NO_INDEX} but {index.kind}")
    described = orjson.loads(index.raw)["manifests"] or []
    entries: dict[Digest, ReferrerEntry] = {}
    for child, fields in zip(index.children, described, strict=True):
        entries.setdefault(child.digest, ReferrerEntry(child.digest, child.artifact_type, child.annotations, fields))
    return tuple(entries.values())


def describe_referrer(manifest: Manifest) -> ReferrerEntry:
    """What a list of referrers says of `manifest` (section "Referrers Tag Schema": its artifact type, or else that of
    its config, and its annotations).
    """
    artifact_type = manifest.artifact_type
    if artifact_type is None and manifest.config is not None:
        artifact_type = manifest.config.media_type or None
    annotations = orjson.loads(manifest.raw).get("annotations") or {}
    described: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": len(manifest.raw),
    }
    if annotations:
        described["annotations"] = annotations
    if artifact_type is not None:
        described["artifactType"] = artifact_type
    return ReferrerEntry(manifest.digest, artifact_type, annotations, described)


def merge_referrers(present: Manifest | None, entries: Iterable[ReferrerEntry]) -> bytes | None:
    """The index under a fallback tag with `entries` in it, beside all that it has; None where they are all there.

    What is there stays as it is, also what is not understood. Raises InvalidManifest where `present` is no index.
    """
    there = {entry.digest for entry in read_referrers(present)} if present is not None else set()
    missing = {entry.digest: entry.described for entry in entries if entry.digest not in there}
    if present is not None and not missing:
        return None
    document: dict[str, Any] = (
        {"schemaVersion": 2, "mediaType": OCI_INDEX} if present is None else orjson.loads(present.raw)
    )
    document["manifests"] = [*(document.get("manifests") or []), *missing.values()]
    return orjson.dumps(document)


def fallback_tag(subject: Digest) -> str:
    """The tag of the index with the referrers of `subject`, where a registry does not list them (section "Referrers Tag
    Schema").

    >>> fallback_tag(Digest("sha512:" + "a" * 128)) == "sha512-" + "a" * 64
    True
    """
    algorithm = subject.algorithm[:_MAX_ALGORITHM_CHARACTERS]
    return _NOT_IN_TAGS.sub("-", f"{algorithm}-{subject.hex[:_MAX_ENCODED_CHARACTERS]}")


def cosign_tags(subject: Digest) -> dict[str, str]:
    """The tags under which cosign puts what it has to say of `subject`, and the artifact type of each (cosign's
    specs/SIGNATURE_SPEC.md, "Discovery").

    >>> list(cosign_tags(Digest("sha256:" + "a" * 64)))[0] == "sha256-" + "a" * 64 + ".sig"
    True
    """
    return {f"{subject.algorithm}-{subject.hex}{ending}": kind for ending, kind in COSIGN_TYPES.items()}


def is_fallback_tag(tag: str) -> bool:
    """Whether `tag` has the form of a tag under which lists of referrers are kept."""
    return _FALLBACK.fullmatch(tag) is not None


def is_attached_tag(tag: str) -> bool:
    """Whether `tag` has the form of such a tag, or of one of cosign's."""
    return _ATTACHED.fullmatch(tag) is not None


def takes_subject(response: Response) -> bool:
    """Whether the registry lists the manifest that was just pushed among the referrers of its subject (section "Pushing
    Manifests with Subject"): it says so with `OCI-Subject`; otherwise the client has to keep the fallback tag.
    """
    return "OCI-Subject" in response.headers
