"""Basic and Bearer: 200 images of 3 layers of 64 KiB between registries that ask who is there.

What access costs in requests: a challenge, tokens, and whether they are kept. `basic` asks for a password with each
request, `bearer` sends the client to a token service (one token for a repository and what is done there).
"""

from perf.scenario import Destination, Scenario, Source
from perf.stage.content import ContentSpec
from perf.tools import skopeo_sync

CONTENT = ContentSpec(repositories=10, tags=20, layers=3, layer_bytes=64 * 1024)

VARIANTS = {
    "basic": Scenario(
        sources=(Source(CONTENT, auth="basic"),),
        destinations=(Destination(auth="basic"),),
        peers={"skopeo": skopeo_sync},
    ),
    "bearer": Scenario(
        sources=(Source(CONTENT, auth="bearer"),),
        destinations=(Destination(auth="bearer"),),
        peers={"skopeo": skopeo_sync},
    ),
}
