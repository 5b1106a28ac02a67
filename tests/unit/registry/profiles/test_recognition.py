import pytest

from image_syncer.registry import GENERIC, PROFILES, Headers, recognise_answer, recognise_host

HOSTS = {
    "hub": ("docker.io",),
    "ecr": (
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
        "123456789012.DKR.ECR.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr-ecr.eu-west-1.on.aws",
        "123456789012.dkr-ecr-fips.us-east-1.on.aws",
    ),
    "ecr-public": ("public.ecr.aws",),
    "gar": ("europe-west1-docker.pkg.dev", "us-docker.pkg.dev", "gcr.io", "eu.gcr.io", "us.gcr.io", "k8s.gcr.io"),
    "acr-aliyun": (
        "registry.cn-hangzhou.aliyuncs.com",
        "registry-vpc.cn-hangzhou.aliyuncs.com",
        "registry-internal.cn-hangzhou.aliyuncs.com",
        "registry-intl.cn-hongkong.aliyuncs.com",
        "shop-registry.cn-hangzhou.cr.aliyuncs.com",
        "shop-registry-vpc.cn-hangzhou.cr.aliyuncs.com",
        "crpi-abc.cn-hangzhou.personal.cr.aliyuncs.com",
    ),
    "acr-azure": ("shop.azurecr.io", "shop.azurecr.cn", "shop.azurecr.us", "shop.westeurope.data.azurecr.io"),
    "ghcr": ("ghcr.io", "GHCR.IO", "containers.shop.ghe.com"),
    "quay": ("quay.io", "quay.io:443"),
    "gitlab": ("registry.gitlab.com",),
    "artifactory": ("shop.jfrog.io", "shop-docker.jfrog.io"),
    "generic": (
        "registry.example",
        "localhost:5000",
        "[::1]:5000",
        "amazonaws.com",
        "gcr.io.example",
        "notquay.io",
        "azurecr.io.example:5000",
        "mydocker.io",
        "registry.k8s.io",
    ),
}


@pytest.mark.parametrize(("host", "name"), [(host, name) for name, hosts in HOSTS.items() for host in hosts])
def test_registry_is_recognised_by_its_host(host: str, name: str) -> None:
    assert recognise_host(host).name == name


ANSWERS = {
    'Bearer realm="https://harbor.example/service/token",service="harbor-registry"': "harbor",
    'Basic realm="harbor"': "harbor",
    'BASIC realm="Sonatype Nexus Repository Manager"': "nexus",
    'Basic realm="Artifactory Realm"': "artifactory",
    'Bearer realm="https://git.example/jwt/auth",service="container_registry",scope="repository:a/b:pull"': "gitlab",
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"': "hub",
    'Bearer realm="https://quay.example/v2/auth",service="quay.example",scope="repository:a/b:pull"': "quay",
    'Basic realm="https://registry.example/",service="ecr.amazonaws.com"': "ecr",
    'Bearer realm="https://registry.example/token",service="registry.example"': "generic",
    'Basic realm="Registry Realm"': "generic",
}


@pytest.mark.parametrize(("challenge", "name"), ANSWERS.items())
def test_registry_is_recognised_by_its_challenge(challenge: str, name: str) -> None:
    headers = Headers([("Docker-Distribution-Api-Version", "registry/2.0"), ("www-authenticate", challenge)])
    assert recognise_answer(headers).name == name


@pytest.mark.parametrize(
    ("header", "value", "name"),
    [
        ("Server", "Nexus/3.52.0-01 (OSS)", "nexus"),
        ("Server", "Artifactory/7.9.1 70901900", "artifactory"),
        ("X-Artifactory-Id", "6d70dcfd451c8e98:237a9c5d:1792f16ad1d:-8000", "artifactory"),
        ("X-JFrog-Version", "Artifactory/7.77.5 77705900", "artifactory"),
        ("Gitlab-Container-Registry-Version", "2.9.0-gitlab", "gitlab"),
        ("Server", "nginx", "generic"),
        ("Docker-Distribution-Api-Version", "registry/2.0", "generic"),
    ],
)
def test_registry_is_recognised_by_its_headers(header: str, value: str, name: str) -> None:
    assert recognise_answer(Headers([(header, value)])).name == name


def test_profiles_go_by_their_names() -> None:
    assert all(name == profile.name and profile.title for name, profile in PROFILES.items())
    assert next(iter(PROFILES.values())) is GENERIC
    assert GENERIC.hosts == GENERIC.marks == ()
