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
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.location import without_query
from image_syncer.registry.message import Operation, Request, Response, is_page, next_page_url, pull_scope
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.oci import Repository
    from image_syncer.registry.endpoint import Endpoint


NO_REFERRERS_API = (404, 405, 400)
"""Answers of registries without the referrers API: 404 by the specification; some refuse the method or the path."""

COSIGN_TYPES = {
    ".sig": "application/vnd.dev.cosign.artifact.sig.v1+json",
    ".att": "application/vnd.dev.cosign.artifact.att.v1+json",
    ".sbom": "application/vnd.dev.cosign.artifact.sbom.v1+json",
}
"""The endings of cosign's tags, and the artifact types of the same content as a referrer
(https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and cosign's pkg/oci/remote/options.go)."""

_MAX_ALGORITHM_CHARACTERS = 32
_MAX_ENCODED_CHARACTERS = 64
_NOT_IN_TAGS = lazy_pattern(r"[^\w.-]", re.ASCII)
_FALLBACK = lazy_pattern(r"sha(?:256|384|512)-[0-9a-f]{64}")
_ATTACHED = lazy_pattern(r"sha(?:256|384|512)-[0-9a-f]{64,128}(?:\.(?:sig|att|sbom))?")
_NO_INDEX = "the list of referrers is no index"


class ReferrerEntry(Value, frozen=True):
    """One manifest in a list of referrers; `described` is its entry, unchanged.

    `artifact_type` and `annotations` are those of the manifest, or None and empty where the list has none.
    """

    digest: Digest
    artifact_type: str | None
    annotations: Mapping[str, str]
    described: dict[str, Any]

    __repr__ = repr_without("described")


class ReferrerPage(Value, frozen=True):
    """One page of referrers, and the URL of the next, None after the last.

    `filtered`: the registry has left out other artifact types (`OCI-Filters-Applied`).
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
    """Ask for the referrers of `subject`, or those of one artifact type ("Listing Referrers", end-12)."""
    url = next_url or f"{endpoint.base_url}/v2/{repository.name}/referrers/{subject}"
    if next_url is None and artifact_type is not None:
        url += f"?{urlencode({'artifactType': artifact_type})}"
    headers = (("Accept", OCI_INDEX),)
    return Request(Operation.LIST_REFERRERS, "GET", url, repository, headers=headers, scopes=(pull_scope(repository),))


def parse_referrers(response: Response, request_url: str) -> ReferrerPage | None:
    """Return the referrers of one page; None where the registry has no such API, and the fallback tag has to be read.

    Some registries answer unknown paths with a web page. Raises `ProtocolViolation` for anything else that is no index,
    and for a next page on another host.
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
    """Return the entries of a list of referrers, each digest once. Raises InvalidManifest where it is no index."""
    if index.kind is not ManifestKind.INDEX:
        raise InvalidManifest(f"{_NO_INDEX} but {index.kind}")
    described = orjson.loads(index.raw)["manifests"] or []
    entries: dict[Digest, ReferrerEntry] = {}
    for child, fields in zip(index.children, described, strict=True):
        entries.setdefault(child.digest, ReferrerEntry(child.digest, child.artifact_type, child.annotations, fields))
    return tuple(entries.values())


def describe_referrer(manifest: Manifest) -> ReferrerEntry:
    """Return the entry of `manifest` in a list of referrers ("Referrers Tag Schema").

    It has the artifact type of the manifest, or else of its config, and the annotations.
    """
    artifact_type = manifest.artifact_type
    if artifact_type is None and manifest.config is not None:
        artifact_type = manifest.config.media_type or None
    annotations = orjson.loads(manifest.raw).get("annotations") or {}
    described = {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": len(manifest.raw)}
    described |= {"annotations": annotations} if annotations else {}
    described |= {"artifactType": artifact_type} if artifact_type is not None else {}
    return ReferrerEntry(manifest.digest, artifact_type, annotations, described)


def merge_referrers(present: Manifest | None, entries: Iterable[ReferrerEntry]) -> bytes | None:
    """Return the index of a fallback tag with `entries` added; None where it has them all.

    What it has stays, also unknown fields. Raises InvalidManifest where `present` is no index.
    """
    listed = {entry.digest for entry in read_referrers(present)} if present is not None else set()
    missing = {entry.digest: entry.described for entry in entries if entry.digest not in listed}
    if present is not None and not missing:
        return None
    document: dict[str, Any] = (
        {"schemaVersion": 2, "mediaType": OCI_INDEX} if present is None else orjson.loads(present.raw)
    )
    document["manifests"] = [*(document.get("manifests") or []), *missing.values()]
    return orjson.dumps(document)


def fallback_tag(subject: Digest) -> str:
    """Return the tag of the index with the referrers of `subject` ("Referrers Tag Schema").

    >>> fallback_tag(Digest("sha512:" + "a" * 128)) == "sha512-" + "a" * 64
    True
    """
    algorithm = subject.algorithm[:_MAX_ALGORITHM_CHARACTERS]
    return _NOT_IN_TAGS.sub("-", f"{algorithm}-{subject.hex[:_MAX_ENCODED_CHARACTERS]}")


def cosign_tags(subject: Digest) -> dict[str, str]:
    """Return cosign's tags for `subject`, and the artifact type of each (specs/SIGNATURE_SPEC.md, "Discovery").

    >>> list(cosign_tags(Digest("sha256:" + "a" * 64)))[0] == "sha256-" + "a" * 64 + ".sig"
    True
    """
    return {f"{subject.algorithm}-{subject.hex}{ending}": kind for ending, kind in COSIGN_TYPES.items()}


def is_fallback_tag(tag: str) -> bool:
    """Return whether `tag` has the form of a fallback tag."""
    return _FALLBACK.fullmatch(tag) is not None


def is_attached_tag(tag: str) -> bool:
    """Return whether `tag` has the form of a fallback tag or of one of cosign's."""
    return _ATTACHED.fullmatch(tag) is not None


def takes_subject(response: Response) -> bool:
    """Return whether the registry lists the pushed manifest as a referrer ("Pushing Manifests with Subject").

    Without `OCI-Subject`, the client has to maintain the fallback tag.
    """
    return "OCI-Subject" in response.headers
