"""One image of 1 KB: what a run costs before it has anything to do.

A job that copies one small image, in CI or on a timer. The wall time is start-up, a few requests and the end. `imports`
is the same Python that imports asyncio and the C extensions that image-syncer needs, and does nothing else.
"""

from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import python_imports, skopeo_sync

VARIANTS = {
    "": Scenario(
        sources=(Source(ContentSpec(tags=1, layers=1, layer_bytes=1024)),),
        work="one image of 1 KB",
        peers={"skopeo": skopeo_sync},
        references={"imports": python_imports},
    ),
}
