from __future__ import annotations

import json

from image_syncer.oci import Repository
from image_syncer.registry import Endpoint
from image_syncer.registry.vendor_apis import build_create_project, build_head_project, project_of

ENDPOINT = Endpoint("harbor.example.com", "https://harbor.example.com")
APP = Repository("harbor.example.com", "team.a/deep/app")


def test_the_project_is_the_first_component():
    assert project_of(APP) == "team.a"
    assert project_of(Repository("harbor.example.com", "app")) == "app"


def test_whether_a_project_is_there():
    request = build_head_project(ENDPOINT, APP)
    assert (request.method, request.url) == (
        "HEAD",
        "https://harbor.example.com/api/v2.0/projects?project_name=team.a",
    )
    assert request.scopes == ()


def test_a_project_is_created_with_what_is_said_of_it():
    request = build_create_project(ENDPOINT, APP)
    assert (request.method, request.url) == ("POST", "https://harbor.example.com/api/v2.0/projects")
    assert json.loads(request.body or b"") == {"project_name": "team.a"}
    request = build_create_project(ENDPOINT, APP, public=True, scan_on_push=False)
    assert json.loads(request.body or b"")["metadata"] == {"public": "true", "auto_scan": "false"}
