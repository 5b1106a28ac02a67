"""Layers of middle size: 60 images of 6 shared and 2 own layers of 4 MiB, on four bases.

Services of one house: each image is one of four bases and a little of its own. A blob costs as much in requests as in
bytes. Of 480 layers 144 are distinct; a tool that asks for each layer of each image, or moves it again, shows it here.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

MIB = 2**20

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=60, layers=8, layer_bytes=4 * MIB, shared_layers=6, bases=4)),),
        work="60 images of 6 shared and 2 own layers of 4 MiB",
        peers={"skopeo": skopeo_sync},
    ),
}
