"""A slow source beside a fast one: 128 MiB at 20 MB/s in all, and 1 GiB from another registry without a limit.

A busy upstream among others. No tool can be faster than the slow source (6.7 s for its bytes); one that does both at
once needs no longer than that, one that lets slow transfers hold its streams or its memory needs longer. skopeo does
them one after the other.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

MIB = 2**20

VARIANTS = {
    "": Scenario(
        sources=(
            Source(ContentSpec(tags=32, layers=1, layer_bytes=4 * MIB, seed=11), bytes_per_s=20_000_000),
            Source(ContentSpec(tags=16, layers=1, layer_bytes=64 * MIB, seed=12)),
        ),
        peers={"skopeo": skopeo_sync},
    ),
}
