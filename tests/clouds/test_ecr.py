"""Amazon ECR: tokens through botocore, by every way in which it finds out who we are; moto and doubles answer."""

from __future__ import annotations

import socket
import time

import pytest

from image_syncer.config.registry_book import RepositoryTemplate
from image_syncer.credentials import CredentialError
from image_syncer.credentials.clouds import find_place
from image_syncer.credentials.clouds.ecr import EcrApi, aws_client
from image_syncer.registry import Credential
from support.cloud_doubles import Ecr, InstanceMetadata, ask_for, aws_double, serving

DIGEST, OTHER = ("sha256:" + digit * 64 for digit in "01")
PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def aws():
    with aws_double() as url:
        yield url


@pytest.fixture
def keys(machine):
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    machine.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def ask(registry=PRIVATE):
    return ask_for(registry)


def test_a_private_registry_with_keys_of_the_environment(aws, keys, machine):
    machine.setenv("AWS_ENDPOINT_URL_ECR", aws)
    answer = ask()
    assert answer.credential == Credential("AWS", "123456789012-auth-token")
    assert answer.source == "AWS (env)"
    assert answer.lasts_s == pytest.approx(0.8 * 43200, abs=60)  # moto says 2015


def test_a_profile_that_takes_on_a_role(aws, machine, tmp_path):
    config, shared = tmp_path / "config", tmp_path / "credentials"
    config.write_text(
        "[profile mover]\nrole_arn = arn:aws:iam::210987654321:role/mover\nsource_profile = basis\nregion = us-east-1\n"
    )
    shared.write_text("[basis]\naws_access_key_id = AKIABASIS\naws_secret_access_key = secret\n")
    machine.setenv("AWS_CONFIG_FILE", str(config))
    machine.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    machine.setenv("AWS_PROFILE", "mover")
    machine.setenv("AWS_ENDPOINT_URL", aws)
    answer = ask()
    assert answer.source == "AWS (assume-role)"
    assert answer.credential.username == "AWS"


def test_a_profile_that_is_not_there_is_told(machine, tmp_path):
    machine.setenv("AWS_PROFILE", "gone")
    with pytest.raises(CredentialError, match="gone"):
        ask()


def test_the_web_identity_of_a_pod(aws, machine, tmp_path):
    token = tmp_path / "token"
    token.write_text("token-of-the-pod")
    machine.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    machine.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
    machine.setenv("AWS_ENDPOINT_URL", aws)
    assert ask().source == "AWS (assume-role-with-web-identity)"


def test_the_role_of_an_instance(aws, machine):
    machine.setenv("AWS_EC2_METADATA_DISABLED", "false")
    machine.setenv("AWS_ENDPOINT_URL_ECR", aws)
    with serving(InstanceMetadata()) as metadata:
        machine.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert ask().source == "AWS (iam-role)"
        assert metadata.asked[0] == "PUT /latest/api/token"


def test_off_the_cloud_metadata_that_does_not_answer_costs_no_more_than_three_seconds(machine):
    machine.setenv("AWS_EC2_METADATA_DISABLED", "false")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        machine.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        answer = ask()
        seconds = time.monotonic() - began
    assert answer == (None, "anonymous (AWS: no identity there was found on this machine)", None)
    assert seconds < 15  # 2 of waiting, and a busy machine


def test_the_public_gallery(keys, machine):
    with serving(Ecr(is_public=True)) as ecr:
        machine.setenv("AWS_ENDPOINT_URL_ECR_PUBLIC", ecr.url)
        answer = ask("public.ecr.aws")
    assert answer.credential == Credential("AWS", "password-0")
    assert answer.lasts_s == pytest.approx(0.8 * 43200, abs=60)
    assert ecr.targets == ["GetAuthorizationToken"]


def test_the_life_of_a_token_is_what_aws_says_by_its_own_clock(keys, machine):
    with serving(Ecr(lives_s=1000.0)) as ecr:
        machine.setenv("AWS_ENDPOINT_URL_ECR", ecr.url)
        assert ask().lasts_s == pytest.approx(800, abs=30)


def test_a_refusal_names_the_right_that_is_missing_and_nothing_that_is_secret(keys, machine):
    said = "User: arn:aws:iam::1:user/me is not authorized to perform this\nx-amz-security-token:FwoG"
    with serving(Ecr(error=(400, "AccessDeniedException", said))) as ecr:
        machine.setenv("AWS_ENDPOINT_URL_ECR", ecr.url)
        with pytest.raises(CredentialError) as caught:
            ask()
    assert "AccessDeniedException: User: arn:aws:iam::1:user/me is not authorized" in caught.value.message
    assert "FwoG" not in str(caught.value)
    assert "Allow ecr:GetAuthorizationToken" in str(caught.value.hint)
    assert ecr.targets == ["GetAuthorizationToken"]


def test_a_gallery_whose_cloud_refuses_is_asked_as_anybody_may(keys, machine):
    with serving(Ecr(error=(400, "AccessDeniedException", "no"), is_public=True)) as ecr:
        machine.setenv("AWS_ENDPOINT_URL_ECR_PUBLIC", ecr.url)
        answer = ask("public.ecr.aws")
    assert answer.credential is None
    assert "AccessDeniedException" in answer.source


def test_the_endpoint_and_the_profile_of_the_entry(machine, tmp_path):
    from image_syncer.config.registry_book import CloudSettings

    shared = tmp_path / "credentials"
    shared.write_text("[second]\naws_access_key_id = AKIASECOND\naws_secret_access_key = secret\n")
    machine.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    with serving(Ecr()) as ecr:
        settings = CloudSettings("aws", region="eu-west-1", profile="second", endpoint=ecr.url)
        answer = ask_for("registry.example.com", settings)
    assert answer.credential.password == "password-0"


def test_moto_creates_what_the_template_says_and_tells_of_blobs(aws, keys, machine):
    machine.setenv("AWS_ENDPOINT_URL_ECR", aws)
    api = EcrApi(find_place(PRIVATE))
    template = RepositoryTemplate(tags=(("team", "platform"),), immutable=True, scan_on_push=True, kms_key="alias/own")
    assert api.find_blobs("team/app", [DIGEST]) == []  # nor is the repository there
    assert api.ensure_repository("team/app", template) is True
    assert api.ensure_repository("team/app", template) is False
    assert api.find_blobs("team/app", [DIGEST]) == []
    client, _ = aws_client(find_place(PRIVATE))
    [made] = client.describe_repositories(repositoryNames=["team/app"])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"]["kmsKey"].endswith("alias/own")
    tags = client.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "platform"}]


def test_who_may_not_look_may_still_create(keys, machine):
    with serving(Ecr(error=(400, "AccessDeniedException", "not authorized to perform"))) as ecr:
        machine.setenv("AWS_ENDPOINT_URL_ECR", ecr.url)
        with pytest.raises(CredentialError, match="ecr:CreateRepository failed"):
            EcrApi(find_place(PRIVATE)).ensure_repository("team/app", RepositoryTemplate())
    assert ecr.targets == ["DescribeRepositories", "CreateRepository"]


def test_the_gallery_calls_a_repository_without_the_alias(keys, machine):
    with serving(Ecr(is_public=True)) as ecr:
        machine.setenv("AWS_ENDPOINT_URL_ECR_PUBLIC", ecr.url)
        api = EcrApi(find_place("public.ecr.aws"))
        template = RepositoryTemplate(tags=(("team", "platform"),), immutable=True)
        assert api.ensure_repository("alias/team/app", template) is True
        assert api.ensure_repository("alias/team/app", template) is False
        assert api.find_blobs("alias/team/app", [DIGEST, OTHER]) == [OTHER]
    assert list(ecr.repositories) == ["team/app"]
    assert ecr.repositories["team/app"]["tags"] == [{"Key": "team", "Value": "platform"}]
