"""One source to three destinations: 4 images of one layer of 128 MiB, each to three registries.

A release that goes to several regions. A tool that fans out reads and hashes each blob once; others read it once for
each destination (skopeo runs once for each). Bytes are counted at each destination.
"""

from perf.scenario import Destination, Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

MIB = 2**20

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=4, layers=1, layer_bytes=128 * MIB)),),
        destinations=(Destination(), Destination(), Destination()),
        peers={"skopeo": skopeo_sync},
    ),
}
