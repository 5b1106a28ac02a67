"""Alibaba Cloud's enterprise instances: calls signed here, checked by a double that signs them once more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from image_syncer.config.registry_book import CloudSettings
from image_syncer.credentials import CredentialError
from image_syncer.credentials.clouds.aliyun import sign
from image_syncer.registry import Credential
from support.cloud_doubles import Aliyun, ask_for, serving

HOST = "team-registry-vpc.cn-hangzhou.cr.aliyuncs.com"


@pytest.fixture
def aliyun():
    with serving(Aliyun()) as double:
        yield double


@pytest.fixture
def keys(aliyun, machine):
    machine.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI")
    machine.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", aliyun.secret)


def ask(aliyun, **settings):
    return ask_for(HOST, CloudSettings(endpoint=aliyun.url, **settings))


def test_the_signature_of_the_documentation():
    """help.aliyun.com/document_detail/315526.html, "RPC": its example, with its result."""
    parameters = {
        "AccessKeyId": "testid",
        "Action": "DescribeRegions",
        "Format": "XML",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "SignatureVersion": "1.0",
        "Timestamp": "2016-02-23T12:46:24Z",
        "Version": "2014-05-26",
    }
    assert sign(parameters, "testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_a_token_for_the_instance_that_has_the_name(aliyun, keys):
    aliyun.names = {"team-of-others": "cri-9", "team": "cri-1234"}
    answer = ask(aliyun)
    assert answer.credential == Credential("cr_temp_user", "temporary")
    assert answer.lasts_s == pytest.approx(0.8 * 3600, abs=60)
    assert aliyun.actions == ["ListInstance", "GetAuthorizationToken"]


def test_an_instance_that_is_named_is_not_looked_up(aliyun, keys):
    assert ask(aliyun, instance="cri-1234").credential.username == "cr_temp_user"
    assert aliyun.actions == ["GetAuthorizationToken"]


def test_an_instance_that_is_not_there(aliyun, keys):
    aliyun.names = {}
    with pytest.raises(CredentialError, match="no instance 'team' in cn-hangzhou"):
        ask(aliyun)
    with pytest.raises(CredentialError, match="INSTANCE_NOT_EXIST"):
        ask(aliyun, instance="cri-0")


def test_a_wrong_secret(aliyun, keys, machine):
    machine.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "wrong")
    with pytest.raises(CredentialError, match="SignatureDoesNotMatch") as caught:
        ask(aliyun)
    assert "string to sign" not in str(caught.value)


def test_a_session_token_goes_along(aliyun, keys, machine):
    machine.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "session")
    ask(aliyun)
    assert aliyun.session_tokens == ["session", "session"]


def test_the_role_of_a_pod(aliyun, machine, tmp_path):
    token = tmp_path / "token"
    token.write_text("token-of-the-pod\n")
    machine.setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/pod")
    machine.setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack")
    machine.setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", str(token))
    machine.setenv("ALIBABA_CLOUD_STS_ENDPOINT", aliyun.url)
    assert ask(aliyun).source == "Alibaba Cloud (role of the pod)"
    assert aliyun.actions[0] == "AssumeRoleWithOIDC"


def test_the_role_of_an_instance(aliyun, machine):
    machine.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")
    machine.setenv("ALIBABA_CLOUD_ECS_METADATA_ENDPOINT", aliyun.url)
    assert ask(aliyun).source == "Alibaba Cloud (role of the instance)"
    assert aliyun.session_tokens == ["session", "session"]


def test_a_profile_file(aliyun, machine):
    path = Path(os.environ["HOME"]) / ".alibabacloud" / "credentials"
    path.parent.mkdir()
    path.write_text(f"[default]\ntype = access_key\naccess_key_id = LTAI\naccess_key_secret = {aliyun.secret}\n")
    assert ask(aliyun).source == f"Alibaba Cloud ({path})"


def test_without_an_identity_it_is_anonymous(aliyun):
    assert ask(aliyun) == (None, "anonymous (Alibaba Cloud: no identity there was found on this machine)", None)
    assert aliyun.asked == []


def test_a_registry_under_a_name_of_ones_own_needs_region_and_instance(aliyun, keys):
    with pytest.raises(CredentialError, match="the region and the instance"):
        ask_for("registry.example.com", CloudSettings("aliyun", endpoint=aliyun.url))
