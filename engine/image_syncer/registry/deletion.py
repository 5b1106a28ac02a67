"""Taking away what was pushed (OCI distribution specification 1.1, section "Content Management": end-9, end-10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry.message import Operation, Request
from image_syncer.registry.scope import Scope

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = ["build_delete_blob", "build_delete_manifest"]


def build_delete_manifest(endpoint: Endpoint, repository: Repository, target: str) -> Request:
    """Take a manifest away by its digest, with every tag on it, or one tag where the registry does that (section
    "Deleting tags", end-9). Registries that do not delete answer 405.
    """
    url = f"{endpoint.base_url}/v2/{repository.name}/manifests/{target}"
    return _deletion(Operation.DELETE_MANIFEST, url, repository)


def build_delete_blob(endpoint: Endpoint, repository: Repository, digest: Digest) -> Request:
    """Take a blob away (section "Deleting Blobs", end-10). Registries that do not delete answer 405."""
    return _deletion(Operation.DELETE_BLOB, f"{endpoint.base_url}/v2/{repository.name}/blobs/{digest}", repository)


def _deletion(operation: Operation, url: str, repository: Repository) -> Request:
    return Request(operation, "DELETE", url, repository, scopes=(Scope(repository.name, ("delete",)),))
