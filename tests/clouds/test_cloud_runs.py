"""Whole runs with what clouds give: tokens that end in the middle of a run, exchanged tokens, and no token at all."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace

import pytest

from image_syncer.config import Limits
from image_syncer.config.registry_book import CloudSettings, RepositoryTemplate
from image_syncer.embedded import Behaviour
from image_syncer.embedded.doubles import DOUBLES, PASSWORD
from image_syncer.registry import PROFILES, Credential
from support.certificates import make_certificates
from support.cloud_doubles import Ecr, Entra, serving


@pytest.mark.extended
def test_a_token_that_lives_three_seconds_in_a_run_of_eight(lab, machine):
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    machine.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving(Ecr(lives_s=3.0)) as ecr:
        registry = lab.add_registry(Behaviour(users=ecr))
        lab.enter(
            registry,
            cloud=CloudSettings("aws", region="us-east-1", endpoint=ecr.url),
            limits=Limits(requests_per_s=7.0),
        )
        made = [lab.push(lab.content.image(2), tags=(f"v{number}",)) for number in range(8)]
        done = lab.run(*(lab.rule(tags=(f"v{number}",), to=[(registry, "mirror/app")]) for number in range(8)))
    for number, image in enumerate(made):
        lab.assert_arrived(image, "mirror/app", f"v{number}", at=registry)
    assert done.report.seconds > 6
    # One at four fifths of the life of the one before; a busy machine may need some more.
    assert done.report.seconds / 3.0 - 1 <= ecr.targets.count("GetAuthorizationToken") <= done.report.seconds / 1.5 + 2
    for password in ecr.passwords:
        assert password not in done.log


def test_azure_exchanges_and_the_refresh_token_gets_tokens(lab, machine, tmp_path):
    certificates = make_certificates(tmp_path)
    registry = lab.add_registry(DOUBLES["acr-azure"].behaviour)
    with serving(Entra(access_token=PASSWORD), certificates.server_context()) as entra:
        machine.setenv("AZURE_AUTHORITY_HOST", entra.url)
        machine.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
        machine.setenv("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555")
        machine.setenv("AZURE_CLIENT_ID", "66666666-7777-8888-9999-000000000000")
        machine.setenv("AZURE_CLIENT_SECRET", entra.secret)
        lab.enter(registry, profile=PROFILES["acr-azure"], cloud=CloudSettings("azure", endpoint=registry.url))
        image = lab.image()
        done = lab.run(lab.rule(to=[(registry, "mirror/app")]))
    lab.assert_arrived(image, "mirror/app", at=registry)
    assert PASSWORD not in done.log


def test_a_machine_without_an_identity_is_told_so_when_the_registry_wants_one(lab, machine):
    registry = lab.add_registry(Behaviour(users={"oauth2accesstoken": "token"}))
    lab.enter(registry, cloud=CloudSettings("google"))
    lab.image()
    done = lab.run(lab.rule(to=[(registry, "mirror/app")]), exit_code=1)
    assert "Google Cloud: no identity there was found on this machine" in str(done.error.hint)


def test_without_the_extra_the_error_names_it(lab, machine):
    machine.setitem(sys.modules, "botocore.config", None)
    registry = lab.add_registry(DOUBLES["ecr"].behaviour)
    lab.enter(registry, cloud=CloudSettings("aws", region="us-east-1", endpoint=registry.url))
    lab.image()
    done = lab.run(lab.rule(to=[(registry, "mirror/app")]), exit_code=1)
    assert "pip install 'image-syncer[aws]'" in str(done.error.hint)


def test_a_cloud_that_is_turned_off_is_not_asked(lab, machine):
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    machine.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving(Ecr()) as ecr:
        registry = lab.add_registry(replace(DOUBLES["ecr"].behaviour, implicit_projects=True))
        lab.enter(registry, cloud=CloudSettings("off", region="us-east-1", endpoint=ecr.url))
        lab.image()
        lab.run(lab.rule(to=[(registry, "mirror/app")]), exit_code=1)
    assert ecr.targets == []


@pytest.mark.extended
def test_an_api_that_never_answers_does_not_hold_the_end_of_a_run(lab, machine):
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    machine.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    registry = lab.add_registry(DOUBLES["ecr"].behaviour)
    lab.image()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        cloud = CloudSettings("aws", region="us-east-1", endpoint=endpoint)
        admin = Credential("AWS", PASSWORD)
        lab.enter(registry, admin, profile=PROFILES["ecr"], cloud=cloud, creation=RepositoryTemplate())
        done = lab.run(lab.rule(to=[(registry, "mirror/app")]), exit_code=1, deadline_s=2.0)
    assert done.outcomes == ["not tried"]
    assert done.report.interrupted == "deadline"
    assert done.report.seconds < 20  # the API's own time-outs come to more than thirty
