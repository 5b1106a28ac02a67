"""TLS on both sides: 4 images of one layer of 256 MiB, over HTTPS from and to registries of a private authority.

How nearly every registry is reached. Encryption comes on top of the hash on both sides; the servers encrypt and decrypt
too, on the same machine, so the wall time is partly theirs: CPU a GB is the tool's own figure.
"""

from perf.scenario import Destination, Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

MIB = 2**20

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=4, layers=1, layer_bytes=256 * MIB), tls=True),),
        destinations=(Destination(tls=True),),
        peers={"skopeo": skopeo_sync},
    ),
}
