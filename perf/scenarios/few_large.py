"""Few large layers: 4 images of one layer of 256 MiB, nothing shared.

Machine-learning images, database dumps, disk images: what counts is the cost of a byte. Source and destination are
faster than any tool, so the wall time is the tool's own. A second of work leaves start-up visible; `larger` is the same
with 8 × 512 MiB, where it no longer counts.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import curl_pipes, curl_pipes_verified, skopeo_sync

MIB = 2**20

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=4, layers=1, layer_bytes=256 * MIB)),),
        work="4 × 256 MiB",
        peers={"skopeo": skopeo_sync, "curl": curl_pipes, "curl+sha256": curl_pipes_verified},
    ),
    "larger": Scenario(
        sources=(Source(ContentSpec(tags=8, layers=1, layer_bytes=512 * MIB)),),
        peers={"skopeo": skopeo_sync, "curl": curl_pipes, "curl+sha256": curl_pipes_verified},
        on_demand=True,
    ),
}
