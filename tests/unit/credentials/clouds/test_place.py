"""Which cloud a host belongs to, and what its name tells."""

from __future__ import annotations

import pytest

from image_syncer.config.registry_book import CloudSettings
from image_syncer.credentials.clouds import find_place

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("host", "cloud", "region", "is_public"),
    [
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com", "aws", "eu-west-1", False),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", "aws", "cn-north-1", False),
        (f"{ACCOUNT}.dkr-ecr.us-east-2.on.aws", "aws", "us-east-2", False),
        (f"{ACCOUNT}.DKR.ECR.us-east-2.amazonaws.com", "aws", "us-east-2", False),
        ("public.ecr.aws", "aws", "us-east-1", True),
        ("gcr.io", "google", None, True),
        ("eu.gcr.io", "google", None, True),
        ("europe-west3-docker.pkg.dev", "google", None, True),
        ("contoso.azurecr.io", "azure", None, False),
        ("contoso.azurecr.cn", "azure", None, False),
        ("team-registry.cn-hangzhou.cr.aliyuncs.com", "aliyun", "cn-hangzhou", False),
        ("team-registry-vpc.cn-hangzhou.cr.aliyuncs.com", "aliyun", "cn-hangzhou", False),
    ],
)
def test_hosts_of_clouds(host, cloud, region, is_public):
    place = find_place(host)
    assert place is not None
    assert (place.cloud, place.registry, place.region, place.is_public) == (cloud, host, region, is_public)


@pytest.mark.parametrize(
    "host",
    [
        "docker.io",
        "gcr.io.example.com",
        "evilgcr.io",
        "evil-azurecr.io",
        "a.b.azurecr.io",
        "azurecr.io",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.example.org",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com:8443",
        "1234.dkr.ecr.eu-west-1.amazonaws.com",
        "registry.cn-hangzhou.aliyuncs.com",
        "localhost:5000",
    ],
)
def test_other_hosts_are_no_clouds(host):
    assert find_place(host) is None


def test_what_a_host_tells():
    place = find_place(f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com")
    assert place is not None
    assert (place.account, place.region, place.is_fips) == (ACCOUNT, "us-gov-west-1", True)
    place = find_place("my-team-registry-vpc.cn-beijing.cr.aliyuncs.com")
    assert place is not None
    assert place.instance == "my-team"


def test_the_user_says_which_cloud_a_host_of_ones_own_belongs_to():
    place = find_place("registry.example.com", CloudSettings("aws", region="eu-west-1", profile="prod"))
    assert place is not None
    assert (place.cloud, place.registry, place.region, place.profile) == (
        "aws",
        "registry.example.com",
        "eu-west-1",
        "prod",
    )


def test_the_user_forbids_to_ask():
    assert find_place("gcr.io", CloudSettings("off")) is None


def test_settings_without_a_name_add_to_what_the_host_tells():
    place = find_place(
        "team-registry.cn-hangzhou.cr.aliyuncs.com", CloudSettings(instance="cri-1", endpoint="https://e")
    )
    assert place is not None
    assert (place.cloud, place.region, place.instance, place.endpoint) == (
        "aliyun",
        "cn-hangzhou",
        "cri-1",
        "https://e",
    )
