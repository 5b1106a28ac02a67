"""A catalog in which 80 % of the layers are shared: 40 repositories of 5 tags, 6 layers of 512 KiB.

An organisation's registry, where teams build on common bases. A tool that knows what the destination registry has moves
a shared layer once and mounts it elsewhere; one that does not moves it again for each repository. Bytes a second are
those of distinct blobs, so moving twice shows as slowness.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(repositories=40, tags=5, layers=6, layer_bytes=512 * 1024, shared_fraction=0.8)),),
        peers={"skopeo": skopeo_sync},
    ),
}
