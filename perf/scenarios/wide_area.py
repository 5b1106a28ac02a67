"""Wide area: 16 images of one layer of 16 MiB over a path of 80 ms, 1 % loss and 500 Mbit/s.

Registries on another continent. One connection is slow there, and how slow is the congestion control's business, so
several at once are what a tool can do; it is measured against curl with as many connections over the same path. How the
path is made, and which congestion control was in force, stands in the result. `source` has the source far away and the
destination near, `destination` the other way round.
"""

from perf.scenario import Scenario, Source, WideArea
from perf.stage.content import ContentSpec
from perf.tools import curl_pipes, skopeo_sync

MIB = 2**20

CONTENT = ContentSpec(tags=16, layers=1, layer_bytes=16 * MIB)

VARIANTS = {
    "source": Scenario(
        sources=(Source(CONTENT),),
        peers={"skopeo": skopeo_sync, "curl": curl_pipes},
        wide_area=WideArea(delay_ms=80, loss=0.01, bits_per_s=500e6, sides=("source",)),
    ),
    "destination": Scenario(
        sources=(Source(CONTENT),),
        peers={"skopeo": skopeo_sync, "curl": curl_pipes},
        wide_area=WideArea(delay_ms=80, loss=0.01, bits_per_s=500e6, sides=("destination",)),
    ),
}
