"""The embedded registry: a registry for tests, demos and benchmarks, and content to fill it.

It serves the OCI distribution specification 1.1 from memory or from a directory, misbehaves on request, and counts its
requests.
"""

from __future__ import annotations

from image_syncer.embedded.behaviour import (
    Behaviour,
    DigestHeader,
    Fault,
    FaultKind,
    LinkForm,
    LocationForm,
    PageMarker,
    RateLimit,
    RetryAfter,
    TokenService,
    behaviour_to_data,
)
from image_syncer.embedded.catalogue_storage import DirectoryStorage, MemoryStorage
from image_syncer.embedded.content import ContentBuilder, MadeBlob, MadeManifest, push_over_http, push_to
from image_syncer.embedded.counters import Counters, CounterValues, Seen
from image_syncer.embedded.demo import Audit, DemoImage, audit_registry, build_demo_images
from image_syncer.embedded.doubles import DOUBLES, PASSWORD, Double, parse_behaviour
from image_syncer.embedded.process import RegistryProcess
from image_syncer.embedded.route import ExtraOperation, RequestKind
from image_syncer.embedded.server import EmbeddedRegistry, serve_in_thread
from image_syncer.embedded.storage import DigestMismatch, Storage, StoredManifest

__all__ = [
    "DOUBLES",
    "PASSWORD",
    "Audit",
    "Behaviour",
    "ContentBuilder",
    "CounterValues",
    "Counters",
    "DemoImage",
    "DigestHeader",
    "DigestMismatch",
    "DirectoryStorage",
    "Double",
    "EmbeddedRegistry",
    "ExtraOperation",
    "Fault",
    "FaultKind",
    "LinkForm",
    "LocationForm",
    "MadeBlob",
    "MadeManifest",
    "MemoryStorage",
    "PageMarker",
    "RateLimit",
    "RegistryProcess",
    "RequestKind",
    "RetryAfter",
    "Seen",
    "Storage",
    "StoredManifest",
    "TokenService",
    "audit_registry",
    "behaviour_to_data",
    "build_demo_images",
    "parse_behaviour",
    "push_over_http",
    "push_to",
    "serve_in_thread",
]
