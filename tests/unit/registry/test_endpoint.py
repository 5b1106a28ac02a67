from __future__ import annotations

import pytest

from image_syncer.registry import PROFILES, Endpoint, candidate_endpoints


def test_docker_hub_has_an_api_host_of_its_own() -> None:
    [hub] = candidate_endpoints("docker.io", insecure=False, skip_tls_verify=False)
    [quay] = candidate_endpoints("quay.io", insecure=False, skip_tls_verify=False)
    assert (hub.base_url, hub.profile.name) == ("https://registry-1.docker.io", "hub")
    assert (quay.base_url, quay.profile.name) == ("https://quay.io", "quay")


def test_profile_that_the_user_names_counts_more_than_the_host() -> None:
    mirror = candidate_endpoints("mirror.example", insecure=True, skip_tls_verify=False, profile=PROFILES["hub"])
    assert [(each.base_url, each.profile.name) for each in mirror] == [
        ("https://mirror.example", "hub"),
        ("http://mirror.example", "hub"),
    ]
    [hub] = candidate_endpoints("docker.io", insecure=False, skip_tls_verify=False, profile=PROFILES["generic"])
    assert (hub.base_url, hub.profile.name) == ("https://registry-1.docker.io", "generic")


def test_only_verified_tls_is_tried_unless_the_user_allows_more() -> None:
    assert candidate_endpoints("docker.io", insecure=False, skip_tls_verify=False, ca_file="/ca.pem") == (
        Endpoint("docker.io", "https://registry-1.docker.io", ca_file="/ca.pem", profile=PROFILES["hub"]),
    )


def test_skip_tls_verify_still_means_tls() -> None:
    [endpoint] = candidate_endpoints("h:5000", insecure=False, skip_tls_verify=True)
    assert endpoint == Endpoint("h:5000", "https://h:5000", verify=False)


@pytest.mark.parametrize("skip_tls_verify", [False, True])
def test_insecure_tries_tls_first_and_plain_http_after(skip_tls_verify: bool) -> None:
    endpoints = candidate_endpoints("h:5000", insecure=True, skip_tls_verify=skip_tls_verify)
    assert [(each.base_url, each.verify) for each in endpoints] == [
        ("https://h:5000", False),
        ("http://h:5000", False),
    ]


def test_another_host_can_stand_for_the_registry() -> None:
    [endpoint] = candidate_endpoints(
        "docker.io", insecure=False, skip_tls_verify=False, ca_file=None, host="mirror:5000"
    )
    assert (endpoint.registry, endpoint.base_url) == ("docker.io", "https://mirror:5000")
