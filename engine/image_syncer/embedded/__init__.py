"""The embedded registry: a registry of our own for tests, demos and benchmarks, and content to fill it with.

Serves the OCI distribution specification 1.1 from memory or from a directory, misbehaves on request, and
counts what it is asked for. No other room of the engine imports this one.
"""

from __future__ import annotations

from image_syncer.embedded.behaviour import (
    Behaviour,
    DigestHeader,
    LinkForm,
    LocationForm,
    PageMarker,
    TokenService,
)
from image_syncer.embedded.behaviour_data import behaviour_to_data, parse_behaviour
from image_syncer.embedded.catalogue import StoredManifest
from image_syncer.embedded.content import ContentBuilder
from image_syncer.embedded.counters import Counters, CounterValues, Seen
from image_syncer.embedded.delivery import push_over_http, push_to
from image_syncer.embedded.demo import Audit, DemoImage, audit_registry, build_demo_images
from image_syncer.embedded.directory import DirectoryStorage
from image_syncer.embedded.doubles import DOUBLES, PASSWORD, Double
from image_syncer.embedded.fault import Fault, FaultKind, RateLimit, RetryAfter
from image_syncer.embedded.made import MadeBlob, MadeManifest
from image_syncer.embedded.memory import MemoryStorage
from image_syncer.embedded.process import RegistryProcess
from image_syncer.embedded.route import ExtraOperation, RequestKind
from image_syncer.embedded.server import EmbeddedRegistry
from image_syncer.embedded.storage import Storage
from image_syncer.embedded.thread import serve_in_thread
from image_syncer.embedded.upload import DigestMismatch

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
