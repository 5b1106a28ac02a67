"""Where a double honestly departs from the contract: the test that it fails, and why the registry does so."""

from __future__ import annotations

from collections.abc import Mapping

_NO_PIECES = "takes a blob in one piece only"
_NO_STATUS = "does not tell how far a session has come"
_NO_MOUNTS = "mounts only what an account was set to mount, and opens a session instead"
_SMALL_PARTS = "every part but the last has at least 5 MiB"
_CREATED = "answers a PATCH with 201"
_NO_DELETES = "deletes over its own API only"

_ECR: Mapping[str, str] = {
    "test_a_mount": _NO_MOUNTS,
    "test_patches_and_an_empty_put": _CREATED,
    "test_a_patch_and_the_rest_with_the_put": _CREATED,
    "test_a_patched_blob_named_by_sha512": _SMALL_PARTS,
    "test_a_location_that_is_not_the_newest_is_refused": _CREATED,
    "test_a_chunk_out_of_order": _SMALL_PARTS,
    "test_a_cancelled_upload_is_gone": "has no action that ends an upload",
}
EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "ecr": _ECR,
    "ecr-public": {**_ECR, "test_the_catalog_in_pages": "nobody may list the repositories of all the world"},
    "gar": {
        "test_the_state_of_an_upload": _NO_PIECES,
        "test_patches_and_an_empty_put": _NO_PIECES,
        "test_a_patch_and_the_rest_with_the_put": _NO_PIECES,
        "test_a_patched_blob_named_by_sha512": _NO_PIECES,
        "test_a_location_that_is_not_the_newest_is_refused": _NO_PIECES,
        "test_a_chunk_out_of_order": _NO_PIECES,
        "test_a_body_that_is_cut_makes_no_blob[PATCH]": _NO_PIECES,
        "test_a_session_tells_where_it_is": "its sessions have a path of their own",
    },
    "hub": {
        "test_a_mount_of_what_is_not_there_opens_a_session[None]": "a mount has to say from where",
        "test_the_catalog_in_pages": "nobody may list the repositories of all the world",
    },
    "gitlab": {"test_the_catalog_in_pages": "the catalog is for administrators"},
    "acr-azure": {"test_the_state_of_an_upload": _NO_STATUS},
    "ghcr": {
        "test_a_deleted_blob_is_gone": _NO_DELETES,
        "test_a_blob_deleted_in_one_repository_stays_in_another": _NO_DELETES,
        "test_a_deleted_manifest_takes_its_tags_along": _NO_DELETES,
        "test_a_deleted_tag": _NO_DELETES,
    },
    "quay": {
        "test_a_mount_of_what_is_not_there_opens_a_session[None]": "a mount has to say from where",
        "test_tags_after_another": "ignores last, and goes on with a word of its own",
        "test_no_referrers": "answers 400 for a manifest that is not there",
    },
    "harbor": {
        "test_a_mount_of_what_is_not_there_opens_a_session[unknown/repository]": "401 for a project that is not there"
    },
    "nexus": {
        "test_the_state_of_an_upload": _NO_STATUS,
        "test_pages_of_tags": "its Link leads to where nothing is served",
        "test_tags_after_another[x-left2]": "a list without tags is null",
    },
    "artifactory": {
        "test_all_tags": "names digests in a list of tags",
        "test_pages_of_tags": "names digests in a list of tags",
        "test_tags_after_another": "last is a number",
    },
    "zot": {"test_patches_and_an_empty_put": "tells the range of the piece, not of all that came"},
}
"""By kind and test, or test and parameters. Each must fail: where one does not, it is no exception any more."""
