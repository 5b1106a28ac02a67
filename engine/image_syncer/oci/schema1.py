"""Docker's manifest of 2014, "Image Manifest Version 2, Schema 1", and what its signature covers.

A signed one is a JSON object with its signatures put in just before the last brace. The digest covers the
payload: the bytes as they were before that. The protected header of each signature says how to get them back:
`formatLength` bytes of the document, then `formatTail`.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from image_syncer.oci.descriptor import Descriptor, read_digest
from image_syncer.oci.document import InvalidManifest, parse_document, read_list, read_object, read_text
from image_syncer.oci.media_type import DOCKER_LAYER
from image_syncer.oci.platform import Platform

__all__ = ["platform_of_schema1", "read_fs_layers", "signed_payload"]

_UNKNOWN_SIZE = -1


def read_fs_layers(document: dict[str, Any]) -> tuple[Descriptor, ...]:
    """The layers in the document's own order, the topmost first, of unknown size. Raises InvalidManifest."""
    if "fsLayers" not in document:
        raise InvalidManifest("fsLayers is missing")
    layers = read_list(document, "fsLayers", "")
    return tuple(_read_fs_layer(value, f"fsLayers[{position}]") for position, value in enumerate(layers))


def platform_of_schema1(raw: bytes) -> Platform | None:
    """The platform that a schema 1 manifest names: its architecture, and the system of its newest history entry, which
    is Linux where it is left out, as it was then. None where there is no architecture.
    """
    try:
        document = parse_document(raw)
        architecture = read_text(document, "architecture", "")
        history = read_list(document, "history", "")
        newest = read_object(history[0], "history[0]") if history else {}
        configuration = orjson.loads(read_text(newest, "v1Compatibility", "history[0].") or "{}")
    except (InvalidManifest, orjson.JSONDecodeError):
        return None
    system = configuration.get("os") if isinstance(configuration, dict) else None
    return Platform(system if isinstance(system, str) and system else "linux", architecture) if architecture else None


def signed_payload(raw: bytes, document: dict[str, Any]) -> bytes:
    """The bytes that the digest covers: those that were signed, or `raw` where nothing was.

    Raises InvalidManifest, also where the signed bytes say something else than the document.
    """
    signatures = read_list(document, "signatures", "")
    if not signatures:
        return raw
    forms = {_read_form(value, f"signatures[{position}]") for position, value in enumerate(signatures)}
    if len(forms) > 1:
        raise InvalidManifest("the signatures of the manifest cover different bytes")
    length, tail = forms.pop()
    payload = raw[:length] + tail
    unsigned = {name: value for name, value in document.items() if name != "signatures"}
    if parse_document(payload) != unsigned:
        raise InvalidManifest("the signatures of the manifest cover something else than the manifest")
    return payload


def _read_fs_layer(value: object, where: str) -> Descriptor:
    digest = read_digest(read_object(value, where), "blobSum", f"{where}.")
    return Descriptor(DOCKER_LAYER, digest, _UNKNOWN_SIZE)


def _read_form(signature: object, where: str) -> tuple[int, bytes]:
    protected = read_text(read_object(signature, where), "protected", f"{where}.") or ""
    try:
        header = orjson.loads(_decode(protected))
        length, tail = header["formatLength"], _decode(header["formatTail"])
    except (ValueError, KeyError, TypeError):
        raise InvalidManifest(f"{where}.protected does not say which bytes were signed") from None
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise InvalidManifest(f"{where}.protected does not say which bytes were signed")
    return length, tail


def _decode(text: str) -> bytes:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
