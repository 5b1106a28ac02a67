"""Many small images: 1,000 images of 3 layers of 64 KiB, nothing shared.

Functions, charts, policies, base images of small tools: what counts is the cost of a request, and how many are on their
way at once. There are 4,000 blobs (a configuration each) and 1,000 manifests. Start-up is a small part of it; in
`200`, with a fifth of the images, it is a large one.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=1000, layers=3, layer_bytes=64 * 1024)),),
        work="1,000 images of 3 × 64 KiB",
        peers={"skopeo": skopeo_sync},
    ),
    "200": Scenario(
        sources=(Source(ContentSpec(tags=200, layers=3, layer_bytes=64 * 1024)),),
        work="200 images of 3 × 64 KiB",
        peers={"skopeo": skopeo_sync},
        on_demand=True,
    ),
}
