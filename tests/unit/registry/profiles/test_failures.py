"""What failures mean at each kind of registry; the bodies are those that were seen or are documented, see
docs/registries.md.
"""

from __future__ import annotations

import json

import pytest

from image_syncer.errors import (
    AuthenticationError,
    Origin,
    RateLimitedError,
    RefusedError,
    RegistryError,
    UnavailableError,
)
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import (
    GENERIC,
    PROFILES,
    Endpoint,
    Headers,
    Operation,
    Request,
    Response,
    UploadSession,
    build_get_manifest,
    build_put_manifest,
    build_put_upload,
    build_start_upload,
    denial_hint,
    parse_failure,
    pull_scope,
    push_scope,
)
from image_syncer.registry.profiles.profile import Meaning, Sign
from image_syncer.registry.profiles.recognition import find_sign

ENDPOINT = Endpoint("h:5000", "https://h:5000")
APP = Repository("h:5000", "team/app")
GET = build_get_manifest(ENDPOINT, APP, "v1")
PUT = build_put_manifest(ENDPOINT, APP, "v1", "application/json", b"{}")
START = build_start_upload(ENDPOINT, APP)
UPLOAD = build_put_upload(ENDPOINT, APP, UploadSession("https://h:5000/u?s=1"), digest_of(b"x"), 1)


def fail(profile: str, request: Request, status: int, code: str = "", message: str = "") -> RegistryError:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    response = Response(status, Headers(), body, request.url)
    return parse_failure(response, request=request, origin=Origin.DESTINATION, profile=PROFILES[profile])


TOO_OFTEN = [
    ("ecr", PUT, 429, "TOOMANYREQUESTS", "Rate exceeded", "Service Quotas"),
    ("hub", GET, 429, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit.", "counts the pulls"),
    ("hub", GET, 403, "", "toomanyrequests: too many failed login attempts", "counts the pulls"),
    ("acr-azure", START, 429, "TOOMANYREQUESTS", "request is throttled", "by its tier"),
    ("gar", GET, 429, "TOOMANYREQUESTS", "Quota exceeded for quota metric 'Requests'", "quota of requests a minute"),
    ("quay", GET, 429, "TOOMANYREQUESTS", "", "Quay limits"),
    ("harbor", START, 429, "TOOMANYREQUESTS", "quota of requests", "are limited"),
]


@pytest.mark.parametrize(("profile", "request_", "status", "code", "message", "hint"), TOO_OFTEN)
def test_asked_too_often(profile: str, request_: Request, status: int, code: str, message: str, hint: str) -> None:
    error = fail(profile, request_, status, code, message)
    assert isinstance(error, RateLimitedError)
    assert error.hint is not None
    assert hint in error.hint


MISSING = [
    (
        "ecr",
        START,
        404,
        "NAME_UNKNOWN",
        "The repository with name 'team/app' does not exist",
        "h:5000/team/app does not",
    ),
    ("gar", START, 404, "NAME_UNKNOWN", 'Repository "team" not found', "gcloud artifacts repositories create"),
    ("harbor", START, 404, "NOT_FOUND", "project team not found", "The project team does not exist"),
    ("harbor", START, 401, "UNAUTHORIZED", "unauthorized to access repository: team/app", "The project team does not"),
    ("artifactory", START, 404, "NAME_UNKNOWN", "", "repository team does not exist in Artifactory"),
    ("acr-aliyun", PUT, 404, "NAME_UNKNOWN", "repository does not exist", "The namespace team"),
    ("gitlab", START, 403, "DENIED", "requested access to the resource is denied", "that of a project"),
    ("generic", START, 404, "NAME_UNKNOWN", "", "create it, or its project, first"),
]


@pytest.mark.parametrize(("profile", "request_", "status", "code", "message", "hint"), MISSING)
def test_to_be_created_first(profile: str, request_: Request, status: int, code: str, message: str, hint: str) -> None:
    error = fail(profile, request_, status, code, message)
    assert not error.retryable
    assert error.hint is not None
    assert hint in error.hint


FIXED = [
    (
        "ecr",
        400,
        "TAG_INVALID",
        "The image tag 'v1' already exists and cannot be overwritten because the repository is im",
    ),
    ("harbor", 412, "PRECONDITION", "Failed to process request due to 'team/app:v1' configured as immutable."),
    ("hub", 403, "DENIED", "tag is immutable"),
    ("gar", 400, "MANIFEST_INVALID", "cannot update tag v1. The repository has enabled tag immutability"),
    ("nexus", 400, "", "Repository does not allow updating assets: docker-hosted"),
    (
        "artifactory",
        403,
        "",
        "Not enough permissions to overwrite artifact 'team/app/v1' (user needs DELETE permission)",
    ),
    ("generic", 412, "", ""),
]


@pytest.mark.parametrize(("profile", "status", "code", "message"), FIXED)
def test_a_tag_that_may_not_be_changed(profile: str, status: int, code: str, message: str) -> None:
    error = fail(profile, PUT, status, code, message)
    assert isinstance(error, (RefusedError, AuthenticationError))
    assert error.hint is not None
    assert "exists at " in error.hint
    assert "choose another tag" in error.hint


def test_a_policy_of_harbor_forbids_a_pull() -> None:
    error = fail("harbor", GET, 412, "PROJECTPOLICYVIOLATION", "current image with 3 vulnerabilities cannot be pulled")
    assert error.hint is not None
    assert "policy of the project" in error.hint


def test_an_address_that_a_firewall_keeps_out() -> None:
    error = fail("acr-azure", GET, 403, "DENIED", "client with IP '192.0.2.1' is not allowed access.")
    assert error.hint is not None
    assert "firewall" in error.hint


def test_a_quota_that_is_used_up_is_not_tried_again() -> None:
    for profile, status in (("harbor", 403), ("quay", 500), ("generic", 500)):
        error = fail(profile, UPLOAD, status, "DENIED", "Quota has been exceeded on namespace")
        assert not error.retryable, profile
        assert isinstance(error, (AuthenticationError, UnavailableError))
        assert error.hint is not None
        assert "quota" in error.hint


def test_what_stores_the_blobs_does_not_speak_as_the_registry() -> None:
    stored = Request(Operation.PUT_UPLOAD, "PUT", "https://storage.example/u?sig=x", APP)
    error = fail("harbor", stored, 403, "DENIED", "")
    assert error.hint is not None
    assert "signed address" in error.hint


def test_what_is_likely_where_a_token_has_too_few_rights() -> None:
    push, pull = (push_scope(APP),), (pull_scope(APP),)
    harbor, gitlab, ecr = (PROFILES[name] for name in ("harbor", "gitlab", "ecr"))
    assert (denial_hint(harbor, APP, push) or "").startswith("The project team does not exist, or the account")
    assert (denial_hint(gitlab, APP, pull) or "").startswith("The project of h:5000/team/app does not exist")
    assert denial_hint(harbor, APP, pull) is denial_hint(ecr, APP, push) is denial_hint(harbor, None, push) is None


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_sign_can_be_told_and_seen(profile: object) -> None:
    assert isinstance(profile, type(GENERIC))
    for sign in profile.signs:
        text = sign.hint.format(registry="r.example", repository="r.example/a/b", project="a")
        assert text.endswith("."), text
        assert "{" not in text
        assert all(words == words.lower() for words in sign.words)
        assert all(code == code.upper() for code in sign.codes)
        operation = next(iter(sign.operations), Operation.PUT_MANIFEST)
        status = next(iter(sign.statuses), 429 if sign.meaning is Meaning.WAIT else 400)
        found = find_sign(profile, status, tuple(sign.codes)[:1], " ".join(sign.words), operation)
        assert isinstance(found, Sign)
        assert found is sign or found.meaning is sign.meaning or profile.signs.index(found) < profile.signs.index(sign)
