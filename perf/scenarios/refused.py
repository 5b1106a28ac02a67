"""A destination that answers 429: 50 images of 3 layers of 64 KiB, 300 requests a second allowed, Retry-After of 1 s.

A registry that protects itself. The requests that are needed, divided by what is allowed, are the least time; a tool
that obeys comes near it and wastes few requests, one that does not retry fails. The result has how many were refused.
"""

from perf.scenario import Destination, Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=50, layers=3, layer_bytes=64 * 1024)),),
        destinations=(Destination(refuse_429=(300, 1.0)),),
        peers={"skopeo": skopeo_sync},
    ),
}
