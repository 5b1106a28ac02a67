"""Repositories and projects that are missing: created once, where the user says so, at doubles of ECR and of Harbor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.config.registry_book import CloudSettings, RepositoryTemplate
from image_syncer.embedded import Fault
from image_syncer.embedded.doubles import DOUBLES, PASSWORD
from image_syncer.registry import PROFILES, Credential
from support.sync_runs import error_of

TEMPLATE = RepositoryTemplate(tags=(("team", "platform"),), immutable=True, scan_on_push=True, public=False)


@pytest.fixture
def keys(machine):
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    machine.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def ecr(lab, keys):
    registry = lab.add_registry(DOUBLES["ecr"].behaviour)
    lab.enter(registry, profile=PROFILES["ecr"], cloud=settings_of(registry), creation=TEMPLATE)
    return registry


@pytest.fixture
def harbor(lab):
    registry = lab.add_registry(DOUBLES["harbor"].behaviour)
    admin = Credential("admin", PASSWORD)
    lab.enter(registry, admin, profile=PROFILES["harbor"], creation=TEMPLATE)
    return registry


def settings_of(registry):
    return CloudSettings("aws", region="us-east-1", endpoint=registry.url)


def calls(done, *kinds):
    return [done.document["totals"]["requests"].get(kind, 0) for kind in kinds]


def test_a_repository_of_ecr_is_created_for_many_images_once(lab, ecr):
    made = [lab.push(lab.content.image(2), tags=(f"v{number}",)) for number in range(3)]
    rules = [lab.rule(tags=(f"v{number}",), to=[(ecr, "mirror/app")]) for number in range(3)]
    done = lab.run(*rules, workers=2)
    assert done.outcomes == ["copied"] * 3
    for number, image in enumerate(made):
        lab.assert_arrived(image, "mirror/app", f"v{number}", at=ecr)
    assert done.document["repositories_created"] == [f"{ecr.address}/mirror/app"]
    assert done.report.creation_lines() == [f"created: {ecr.address}/mirror/app"]
    again = lab.run(*rules, force=True)
    assert again.document["repositories_created"] == []
    assert again.report.creation_lines() == []


def test_each_repository_is_created_for_itself(lab, ecr):
    for name in ("one", "two"):
        lab.image(repository=name)
    done = lab.run(lab.rule("one", to=[(ecr, "m/one")]), lab.rule("two", to=[(ecr, "m/two")]))
    assert sorted(done.document["repositories_created"]) == [f"{ecr.address}/m/one", f"{ecr.address}/m/two"]


@pytest.mark.extended
def test_without_the_option_the_error_says_so(lab, ecr):
    lab.enter(ecr, profile=PROFILES["ecr"], cloud=settings_of(ecr))
    lab.image()
    done = lab.run(lab.rule(to=[(ecr, "mirror/app")]), exit_code=1)
    assert "does not exist" in str(done.error.hint)
    assert f"set create_repositories: true for {ecr.address}" in str(done.error.hint)
    assert ecr.storage.repositories() == []


def test_a_dry_run_creates_nothing(lab, ecr, harbor):
    lab.image()
    done = lab.run(lab.rule(to=[(ecr, "mirror/app"), (harbor, "mirror/app")]), dry_run=True)
    assert done.outcomes == ["would be copied"] * 2
    assert (ecr.storage.repositories(), harbor.storage.repositories()) == ([], [])
    assert done.document["repositories_created"] == []
    assert calls(done, "create project", "find project") == [0, 0]


def test_aws_that_refuses_is_told_for_each_image_and_asked_once(lab, ecr, machine):
    machine.delenv("AWS_ACCESS_KEY_ID")
    lab.enter(ecr, Credential("AWS", PASSWORD), profile=PROFILES["ecr"], cloud=settings_of(ecr), creation=TEMPLATE)
    for number in range(2):
        lab.push(lab.content.image(1), tags=(f"v{number}",))
    rules = [lab.rule(tags=(f"v{number}",), to=[(ecr, "mirror/app")]) for number in range(2)]
    done = lab.run(*rules, exit_code=1)
    for image in done.images:
        assert "this machine has no identity at AWS" in error_of(image).message
    assert ecr.storage.repositories() == []


@pytest.mark.extended
def test_a_project_of_harbor_is_created_once(lab, harbor):
    for name in ("one", "two"):
        lab.image(repository=name)
    rules = [lab.rule(name, to=[(harbor, f"mirror/deep/{name}")]) for name in ("one", "two")]
    done = lab.run(*rules, workers=2)
    assert done.outcomes == ["copied", "copied"]
    assert done.document["repositories_created"] == [f"{harbor.address}/mirror"]
    assert calls(done, "find project", "create project") == [1, 1]
    again = lab.run(*rules, force=True)
    assert calls(again, "find project", "create project") == [1, 0]


def test_a_harbor_that_nobody_named_is_recognised(lab, harbor):
    lab.enter(harbor, Credential("admin", PASSWORD), creation=TEMPLATE)
    lab.image()
    done = lab.run(lab.rule(to=[(harbor, "mirror/app")]))
    assert done.document["repositories_created"] == [f"{harbor.address}/mirror"]


def test_a_project_that_somebody_else_creates_meanwhile_is_there(lab, harbor):
    """It is asked for, and not there; when it is created, it is."""
    harbor.behaviour = replace(
        harbor.behaviour,
        faults=(Fault("*", match="/api/v2.0/projects", status=404, times=1),),
    )
    harbor.storage.create_repository("mirror/there")
    lab.image()
    done = lab.run(lab.rule(to=[(harbor, "mirror/app")]))
    assert done.document["repositories_created"] == []
    assert calls(done, "find project", "create project") == [1, 1]


def test_without_the_option_harbors_error_says_so(lab, harbor):
    lab.enter(harbor, Credential("admin", PASSWORD), profile=PROFILES["harbor"])
    lab.image()
    done = lab.run(lab.rule(to=[(harbor, "mirror/app")]), exit_code=1)
    assert "The project mirror does not exist" in str(done.error.hint)
    assert f"create_repositories: true for {harbor.address}" in str(done.error.hint)


def test_a_robot_that_may_not_create_projects(lab, harbor):
    robot = Credential("robot$sync", PASSWORD)
    lab.enter(harbor, robot, profile=PROFILES["harbor"], creation=TEMPLATE)
    lab.image()
    done = lab.run(lab.rule(to=[(harbor, "mirror/app")]), exit_code=1)
    assert done.error.operation == "create project"
    assert calls(done, "create project") == [1]


def test_harbor_without_a_credential(lab, harbor):
    lab.enter(harbor, profile=PROFILES["harbor"], creation=TEMPLATE)
    lab.image()
    done = lab.run(lab.rule(to=[(harbor, "mirror/app")]), exit_code=1)
    assert done.document["repositories_created"] == []
    assert calls(done, "find project", "create project") == [0, 0]


def test_registries_that_create_by_push_are_asked_nothing(lab):
    lab.enter(lab.destination, creation=TEMPLATE)
    image = lab.image()
    done = lab.run()
    lab.assert_arrived(image)
    assert done.document["repositories_created"] == []
