"""Google Artifact Registry.

- "Artifact Registry does not support Docker chunked uploads": a PATCH is refused, one PUT brings the blob, and
  what a cut left of it is of no use:
  https://cloud.google.com/artifact-registry/docs/reference/docker-api,
  https://github.com/dotnet/sdk-container-builds/pull/287.
- Sessions have a path of their own, `/artifacts-uploads/…`, at an absolute address.
- A list of tags carries an extension, the map `manifest` of digests (with `child` beside it), as
  https://github.com/google/go-containerregistry/tree/main/pkg/v1/google reads it.
- Tokens come from `/v2/token`: https://github.com/oras-project/oras/issues/157. A password (`_json_key`,
  `oauth2accesstoken`) is taken in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.embedded.behaviour import Behaviour, LocationForm, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double, change_json
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["GAR"]


def _add_manifests(call: Call, response: web.Response) -> None:
    manifests: dict[str, dict[str, Any]] = {}

    def change(data: dict[str, Any]) -> None:
        for tag in data["tags"] or ():
            digest = call.storage.tag(call.repository, tag)
            stored = None if digest is None else call.storage.manifest(call.repository, digest)
            if digest is None or stored is None:
                continue
            known = {"imageSizeBytes": str(stored.size), "mediaType": stored.media_type, "timeUploadedMs": "0"}
            manifests.setdefault(str(digest), {**known, "layerId": "", "tag": []})["tag"].append(tag)
        data["manifest"] = manifests
        data["child"] = []

    change_json(response, change)


GAR = Double(
    "gar",
    "Google Artifact Registry",
    Behaviour(
        double="gar",
        users={"oauth2accesstoken": PASSWORD, "_json_key": PASSWORD},
        bearer=TokenService(expires_in_s=3600, service="us-docker.pkg.dev", path="/v2/token"),
        basic_beside_bearer=True,
        basic_realm="us-docker.pkg.dev",
        chunked_uploads=False,
        keep_partial=False,
        upload_prefix="/artifacts-uploads",
        location_form=LocationForm.ABSOLUTE,
    ),
    after={Operation.LIST_TAGS: (_add_manifests,)},
)
