"""What the contract runs against, and where targets honestly differ."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from support.client import Client

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


class Capability(Enum):
    """A behaviour that the specification offers or that clients would like, and that not every registry has."""

    REFERRERS = "the referrers API answers, and a push with a subject is confirmed by OCI-Subject"
    SINGLE_POST = "a POST with a digest and a body makes a blob"
    TAG_PAGES = "a list of tags obeys n and last"
    TAG_DELETE = "a tag can be deleted and its manifest stays"
    CHUNK_ORDER = "a chunk that does not begin where the upload goes on is answered with 416"
    KEEPS_PARTIAL = "what came before a cut inside a body survives it"
    SCHEMA1 = "a schema 1 manifest is taken whoever signed it"
    OTHER_RANGE_UNITS = "a Range in another unit than bytes is ignored, as RFC 9110 wants it"
    STALE_LOCATION_416 = "an upload at a Location that is not the newest is answered with 416, not with 404"


EMBEDDED = frozenset(Capability)
"""The embedded registry, at its defaults."""

CAN: Mapping[str, frozenset[Capability]] = {
    "ecr": EMBEDDED,
    "ecr-public": EMBEDDED,
    "gar": EMBEDDED - {Capability.KEEPS_PARTIAL},
    "hub": EMBEDDED,
    "acr-aliyun": EMBEDDED - {Capability.REFERRERS},
    "acr-azure": EMBEDDED - {Capability.KEEPS_PARTIAL},
    "ghcr": EMBEDDED - {Capability.REFERRERS},
    "quay": EMBEDDED,
    "harbor": EMBEDDED,
    "gitlab": EMBEDDED - {Capability.REFERRERS},
    "nexus": EMBEDDED - {Capability.REFERRERS, Capability.KEEPS_PARTIAL},
    "artifactory": EMBEDDED,
    "registry2": frozenset(),
    "registry3": frozenset(
        {Capability.TAG_PAGES, Capability.CHUNK_ORDER, Capability.OTHER_RANGE_UNITS, Capability.TAG_DELETE}
    ),
    "zot": EMBEDDED - {Capability.SCHEMA1},
}
"""The doubles."""

DISTRIBUTION_2_8: frozenset[Capability] = frozenset()
"""Debian's docker-registry."""


@dataclass(frozen=True)
class Target:
    """A registry under test. What it `can` tells a test which of two answers is the right one here."""

    name: str
    url: str
    can: frozenset[Capability]
    credential: tuple[str, str] | None = None
    context: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    def client(self) -> Client:
        """A client that may do everything."""
        return Client(self.url, credential=self.credential, context=self.context, follow=True)
