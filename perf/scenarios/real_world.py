"""The mix of real images: 12 repositories of 5 tags, 8 layers each, of which 3 are bases that all images share.

Layer sizes are log-normal, as those of public registries are: half are smaller than 1 MiB, a few are very large (sigma
2: one in twenty is larger than 27 MiB). It moves bytes and asks at once, and the tail of the run is a large layer.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

MIB = 2**20

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(repositories=12, tags=5, layers=8, log_normal=(1.0 * MIB, 2.0), shared_layers=3)),),
        peers={"skopeo": skopeo_sync},
    ),
}
