"""One blob of 10 GiB.

It can be moved by one process only, and shows whether memory stays flat and whether anything grows with the length of a
blob. `small` is one of 1 GiB: compare the peaks of the two.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

GIB = 2**30

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=1, layers=1, layer_bytes=10 * GIB)),),
        peers={"skopeo": skopeo_sync},
    ),
    "small": Scenario(
        sources=(Source(ContentSpec(tags=1, layers=1, layer_bytes=GIB)),),
        peers={"skopeo": skopeo_sync},
        on_demand=True,
    ),
}
