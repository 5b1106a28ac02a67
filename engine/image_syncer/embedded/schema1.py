"""Manifests of 2014, made up: Docker "Image Manifest Version 2, Schema 1", signed in form."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from image_syncer.embedded.made import MadeManifest
from image_syncer.oci import DOCKER_SCHEMA1_SIGNED

if TYPE_CHECKING:
    from image_syncer.embedded.made import MadeBlob

__all__ = ["build_schema1"]

_INDENT = 3  # as docker printed it; the signature covers these bytes
_KEY = {"crv": "P-256", "kid": "MADE:UPXX", "kty": "EC", "x": "eA", "y": "eQ"}


def build_schema1(name: str, tag: str, layers: tuple[MadeBlob, ...]) -> MadeManifest:
    """A schema 1 manifest of `layers` (topmost first) with a signature of the right form that proves
    nothing.
    """
    value = {
        "schemaVersion": 1,
        "name": name,
        "tag": tag,
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest} for layer in layers],
        "history": [{"v1Compatibility": json.dumps({"id": layer.digest.hex})} for layer in layers],
    }
    payload = json.dumps(value, indent=_INDENT).encode()
    tail = b"\n}"
    body = payload[: -len(tail)]
    protected = {"formatLength": len(body), "formatTail": _encode(tail), "time": "2014-10-20T00:00:00Z"}
    signature = {
        "header": {"jwk": _KEY, "alg": "ES256"},
        "signature": _encode(b"made up"),
        "protected": _encode(json.dumps(protected).encode()),
    }
    signatures = json.dumps([signature], indent=_INDENT).encode()
    raw = body + b',\n   "signatures": ' + signatures + tail
    return MadeManifest(raw, DOCKER_SCHEMA1_SIGNED, layers)


def _encode(data: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
