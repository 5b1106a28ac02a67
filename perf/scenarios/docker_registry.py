"""docker-registry to docker-registry: a real registry on both sides, with its files on tmpfs.

What most people run. `large` is 4 images of one layer of 256 MiB, `small` 200 images of 3 layers of 64 KiB. The
registry hashes what it takes and is the bottleneck; the peers to beat are two curls and a pipe between them, as many at
once as image-syncer has in flight (they copy blobs only, hash nothing and push no manifest). `unchanged` is the 200
images where the destination has them already (docker-registry counts no requests: that a tool asked is not checked),
`tls` 20 images of 3 layers of 16 MiB over HTTPS on both sides.
"""

from perf.scenario import Destination, Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import curl_pipes, curl_pipes_verified, skopeo_sync

MIB = 2**20
SMALL = ContentSpec(tags=200, layers=3, layer_bytes=64 * 1024)

VARIANTS = {
    "large": Scenario(
        sources=(Source(ContentSpec(tags=4, layers=1, layer_bytes=256 * MIB), registry=True),),
        destinations=(Destination(registry=True),),
        work="4 × 256 MiB, docker-registry on both sides",
        peers={"skopeo": skopeo_sync, "curl": curl_pipes, "curl+sha256": curl_pipes_verified},
    ),
    "small": Scenario(
        sources=(Source(SMALL, registry=True),),
        destinations=(Destination(registry=True),),
        work="200 images of 3 × 64 KiB, docker-registry on both sides",
        peers={"skopeo": skopeo_sync, "curl": curl_pipes, "curl+sha256": curl_pipes_verified},
    ),
    "unchanged": Scenario(
        sources=(Source(SMALL, registry=True),),
        destinations=(Destination(registry=True, holds=True),),
        work="200 unchanged tags, docker-registry on both sides",
        peers={"skopeo": skopeo_sync},
    ),
    "tls": Scenario(
        sources=(Source(ContentSpec(tags=20, layers=3, layer_bytes=16 * MIB), registry=True, tls=True),),
        destinations=(Destination(registry=True, tls=True),),
        work="20 images of 3 × 16 MiB over TLS, docker-registry on both sides",
        peers={"skopeo": skopeo_sync},
    ),
}
