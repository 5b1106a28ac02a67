"""Nothing changed: 1,000 tags that the destination has already.

The nightly run of a mirror. No blob moves; what counts is what it costs to find that out: two requests a tag, and the
CPU of them.
"""

from perf.scenario import Destination, Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=1000, layers=3, layer_bytes=4096)),),
        destinations=(Destination(holds=True),),
        peers={"skopeo": skopeo_sync},
    ),
}
