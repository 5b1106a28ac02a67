"""Harbor's projects: whether one is there, and how one is made (its own API, beside `/v2/`).

https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml, `headProject` and `createProject`; both take the
name and password of a user or a robot by Basic, and no token of the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from image_syncer.registry.message import Operation, Request

if TYPE_CHECKING:
    from image_syncer.oci import Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = [
    "PROJECT_ABSENT",
    "PROJECT_CREATED",
    "PROJECT_TAKEN",
    "PROJECT_THERE",
    "build_create_project",
    "build_head_project",
    "project_of",
]

PROJECT_THERE = 200
PROJECT_ABSENT = 404
PROJECT_CREATED = 201
PROJECT_TAKEN = 409
"""Somebody else has created it meanwhile."""

_PATH = "/api/v2.0/projects"


def project_of(repository: Repository) -> str:
    """The first component of a repository's name."""
    return repository.name.partition("/")[0]


def build_head_project(endpoint: Endpoint, repository: Repository) -> Request:
    """Ask whether the project of `repository` is there: `PROJECT_THERE`, or `PROJECT_ABSENT`."""
    name = quote(project_of(repository), safe="")
    return Request(Operation.FIND_PROJECT, "HEAD", f"{endpoint.base_url}{_PATH}?project_name={name}", repository)


def build_create_project(
    endpoint: Endpoint, repository: Repository, *, public: bool | None = None, scan_on_push: bool | None = None
) -> Request:
    """Create the project of `repository`: `PROJECT_CREATED`, or `PROJECT_TAKEN`. What is None is left to Harbor, whose
    projects are private.
    """
    said = {"public": public, "auto_scan": scan_on_push}
    metadata = {name: str(value).lower() for name, value in said.items() if value is not None}
    body: dict[str, object] = {"project_name": project_of(repository)}
    if metadata:
        body["metadata"] = metadata
    headers = (("Content-Type", "application/json"),)
    return Request(
        Operation.CREATE_PROJECT, "POST", f"{endpoint.base_url}{_PATH}", repository, headers, orjson.dumps(body)
    )
