"""Repositories of a project or namespace where `/v2/_catalog` is closed: by each registry's own API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.config import Configuration, RegistryBook, RegistryEntry, Settings
from image_syncer.config.loader import load_configuration
from image_syncer.embedded import Behaviour, Fault, push_to
from image_syncer.embedded.doubles import DOUBLES, PASSWORD
from image_syncer.registry import PROFILES, Credential, Profile
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry
    from image_syncer.telemetry import ImageResult
    from support.sync_runs import SyncLab

NAMES = ["library/nginx", "team/a", "team/b", "team/c/deep", "teams/x"]


def fill(lab: SyncLab, registry: EmbeddedRegistry, names: list[str] = NAMES) -> None:
    for name in names:
        push_to(registry.storage, name, lab.content.image(1), ["v1"])


def run(
    lab: SyncLab,
    tmp_path: Path,
    source: EmbeddedRegistry,
    *patterns: str,
    credential: Credential | None = None,
    profile: Profile | None = None,
) -> list[ImageResult]:
    """Copy what `patterns` mean; without `profile` the registry has to be recognised."""
    path = tmp_path / "own.yaml"
    rules = "".join(
        f"- {{source: '{source.address}/{pattern}', destination: '{lab.destination.address}/**'}}\n"
        for pattern in patterns
    )
    path.write_text(f"version: 2\nrules:\n{rules}", encoding="utf-8")
    entries = [
        RegistryEntry(source.address, credential, insecure=True, profile=profile),
        RegistryEntry(lab.destination.address, insecure=True),
    ]
    rules_only = load_configuration(config=str(path), environ={})
    images: list[ImageResult] = []
    image_syncer.sync(
        Configuration(registries=RegistryBook(entries), catalogs=rules_only.catalogs),
        Settings(workers=1, retries=1),
        on_image=images.append,
    )
    return images


def copied(images: list[ImageResult]) -> list[str]:
    assert {image.outcome for image in images} == {Outcome.COPIED}
    return sorted(image.source.partition("/")[2] for image in images)


# --- Harbor


@pytest.fixture
def harbor(lab: SyncLab) -> EmbeddedRegistry:
    registry = lab.add_registry(replace(DOUBLES["harbor"].behaviour, max_page_size=2))
    fill(lab, registry)
    return registry


@pytest.mark.parametrize("profile", [None, PROFILES["harbor"]])
def test_a_robot_of_harbor_gets_the_list_of_a_project(
    lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry, profile: Profile | None
) -> None:
    robot = Credential("robot$sync", PASSWORD)
    images = run(lab, tmp_path, harbor, "team/**", credential=robot, profile=profile)
    assert copied(images) == ["team/a:v1", "team/b:v1", "team/c/deep:v1"]
    counted = harbor.counters.values()
    assert (counted.count("own API"), counted.count("list catalog")) == (2, 0)


def test_several_projects_of_harbor_and_the_catalog_for_an_administrator(
    lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry
) -> None:
    admin = Credential("admin", PASSWORD)
    images = run(lab, tmp_path, harbor, "team/*", "library/**", "t*s/x", credential=admin)
    assert copied(images) == ["library/nginx:v1", "team/a:v1", "team/b:v1", "teams/x:v1"]
    assert harbor.counters.values().count("list catalog") == 3


def test_the_project_of_others_says_what_right_is_missing(
    lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry
) -> None:
    [image] = run(lab, tmp_path, harbor, "team/**", credential=Credential("robot$library+sync", PASSWORD))
    assert image.error is not None
    assert image.error["status"] == 403
    assert "give the account the right to list repositories" in image.error["hint"]


@pytest.mark.parametrize("profile", [None, PROFILES["harbor"]])
def test_a_robot_who_means_all_projects_is_told_to_name_one(
    lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry, profile: Profile | None
) -> None:
    [image] = run(lab, tmp_path, harbor, "*/b", credential=Credential("robot$sync", PASSWORD), profile=profile)
    assert image.error is not None
    assert f"{harbor.address}/NAME/**" in image.error["hint"]


def test_an_outage_of_the_api_is_waited_for(lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry) -> None:
    harbor.behaviour = replace(harbor.behaviour, faults=(Fault("own API", status=503, times=1),))
    images = run(lab, tmp_path, harbor, "library/*", credential=Credential("robot$sync", PASSWORD))
    assert copied(images) == ["library/nginx:v1"]


def test_a_registry_that_is_down_when_the_run_begins_is_waited_for(
    lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry
) -> None:
    down = Fault("ping", status=503, times=12)  # more than the tries of one request
    harbor.behaviour = replace(harbor.behaviour, faults=(down,))
    images = run(lab, tmp_path, harbor, "library/*", credential=Credential("robot$sync", PASSWORD))
    assert copied(images) == ["library/nginx:v1"]


def test_an_administrator_whose_password_the_api_refuses_gets_the_catalog(
    lab: SyncLab, tmp_path: Path, harbor: EmbeddedRegistry
) -> None:
    harbor.behaviour = replace(harbor.behaviour, faults=(Fault("own API", status=401, times=None),))
    images = run(lab, tmp_path, harbor, "library/*", credential=Credential("admin", PASSWORD))
    assert copied(images) == ["library/nginx:v1"]


# --- Docker Hub


@pytest.fixture
def hub(lab: SyncLab) -> EmbeddedRegistry:
    registry = lab.add_registry(replace(DOUBLES["hub"].behaviour, max_page_size=2))
    fill(lab, registry)
    return registry


def profile_of(hub: EmbeddedRegistry) -> Profile:
    return replace(PROFILES["hub"], listing_host=hub.companion_address)


@pytest.mark.parametrize("credential", [None, Credential("dockeruser", PASSWORD)])
def test_a_namespace_of_docker_hub_and_no_password_for_its_api(
    lab: SyncLab, tmp_path: Path, hub: EmbeddedRegistry, credential: Credential | None
) -> None:
    images = run(lab, tmp_path, hub, "team/**", credential=credential, profile=profile_of(hub))
    assert copied(images) == ["team/a:v1", "team/b:v1", "team/c/deep:v1"]
    counted = hub.counters.values()
    assert counted.count("own API") == 2
    assert counted.authorization_on_companion == 0


def test_all_of_docker_hub_cannot_be_meant(lab: SyncLab, tmp_path: Path, hub: EmbeddedRegistry) -> None:
    [image] = run(lab, tmp_path, hub, "**", profile=profile_of(hub))
    assert image.error is not None
    assert f"{hub.address}/NAMESPACE/**" in image.error["hint"]
    assert hub.counters.values().count("list catalog") == 0


def test_a_namespace_that_is_not_there(lab: SyncLab, tmp_path: Path, hub: EmbeddedRegistry) -> None:
    [image] = run(lab, tmp_path, hub, "nobody/**", profile=profile_of(hub))
    assert image.error is not None
    assert image.error["status"] == 404


# --- GitLab


@pytest.fixture
def gitlab(lab: SyncLab) -> EmbeddedRegistry:
    registry = lab.add_registry(replace(DOUBLES["gitlab"].behaviour, max_page_size=2))
    fill(lab, registry)
    return registry


@pytest.mark.parametrize("profile", [None, PROFILES["gitlab"]])
def test_a_group_of_gitlab(lab: SyncLab, tmp_path: Path, gitlab: EmbeddedRegistry, profile: Profile | None) -> None:
    token = Credential("deploy-token", PASSWORD)
    images = run(lab, tmp_path, gitlab, "team/**", credential=token, profile=profile)
    assert copied(images) == ["team/a:v1", "team/b:v1", "team/c/deep:v1"]
    assert gitlab.counters.values().count("own API") == 2


def test_gitlab_says_which_token_it_wants(lab: SyncLab, tmp_path: Path, gitlab: EmbeddedRegistry) -> None:
    [image] = run(lab, tmp_path, gitlab, "team/**", credential=Credential("deploy-token", "glpat-refused"))
    assert image.error is not None
    assert image.error["status"] == 401
    assert "read_api" in image.error["hint"]
    assert "glpat-refused" not in str(image.error)


# --- Others


def test_others_give_their_catalog_once_for_all_rules(lab: SyncLab, tmp_path: Path) -> None:
    fill(lab, lab.source)
    lab.source.behaviour = Behaviour()
    images = run(lab, tmp_path, lab.source, "team/**", "library/*", "teams/*")
    assert copied(images) == sorted(f"{name}:v1" for name in NAMES)
    assert lab.source.counters.values().count("list catalog") == 1
