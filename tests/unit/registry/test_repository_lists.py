"""Lists of repositories by the registries' own APIs: what is asked, and what is read out of the answers."""

from __future__ import annotations

import json

import pytest

from image_syncer.errors import ProtocolViolation
from image_syncer.registry import PROFILES, Endpoint, Headers, Response
from image_syncer.registry.vendor_apis import (
    build_list_gitlab_repositories,
    build_list_harbor_repositories,
    build_list_hub_repositories,
    find_gitlab,
    parse_gitlab_repositories,
    parse_harbor_repositories,
    parse_hub_repositories,
)

HARBOR = Endpoint("harbor.example.com", "https://harbor.example.com", profile=PROFILES["harbor"])
HUB = Endpoint("docker.io", "https://registry-1.docker.io", profile=PROFILES["hub"])


def answer(url, data, *fields):
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Response(200, Headers(fields), body, url)


def test_harbor():
    request = build_list_harbor_repositories(HARBOR, "team")
    assert request.url == "https://harbor.example.com/api/v2.0/projects/team/repositories?page=1&page_size=100"
    assert request.scopes == ()
    link = '</api/v2.0/projects/team/repositories?page=1&page_size=100>; rel="prev" , '
    link += '</api/v2.0/projects/team/repositories?page=3&page_size=100>; rel="next"'
    page = parse_harbor_repositories(
        answer(request.url, [{"name": "team/a"}, {"name": "team/b/c"}], ("Link", link)), request.url
    )
    assert page.names == ("team/a", "team/b/c")
    assert page.next_url == "https://harbor.example.com/api/v2.0/projects/team/repositories?page=3&page_size=100"
    assert build_list_harbor_repositories(HARBOR, "team", page.next_url).url == page.next_url
    assert parse_harbor_repositories(answer(request.url, None), request.url).names == ()


def test_docker_hub():
    request = build_list_hub_repositories(HUB, "bitnami")
    assert request.url == "https://hub.docker.com/v2/namespaces/bitnami/repositories?page=1&page_size=100"
    following = "https://hub.docker.com/v2/namespaces/bitnami/repositories?page=2&page_size=100"
    results = [{"namespace": "bitnami", "name": "redis", "is_private": False}]
    page = parse_hub_repositories(answer(request.url, {"next": following, "results": results}), request.url)
    assert (page.names, page.next_url) == (("bitnami/redis",), following)
    last = parse_hub_repositories(answer(request.url, {"next": None, "results": None}), request.url)
    assert (last.names, last.next_url) == ((), None)


@pytest.mark.parametrize("following", ["https://evil.example/v2/", "http://hub.docker.com/v2/", 3])
def test_the_next_page_is_not_looked_for_elsewhere(following):
    url = build_list_hub_repositories(HUB, "bitnami").url
    with pytest.raises(ProtocolViolation, match="said to be where no such list is"):
        parse_hub_repositories(answer(url, {"next": following, "results": []}), url)


@pytest.mark.parametrize("data", [b"<html>", {"results": 3}, {"results": [{"name": 3}]}, {}, 3, [3], [{"name": None}]])
def test_what_is_no_list(data):
    url = "https://hub.docker.com/v2/namespaces/x/repositories"
    for parse in (parse_hub_repositories, parse_harbor_repositories):
        with pytest.raises(ProtocolViolation, match="no list of repositories"):
            parse(answer(url, data), url)


GITLAB = Endpoint("registry.gitlab.com", "https://registry.gitlab.com", profile=PROFILES["gitlab"])


@pytest.mark.parametrize(
    ("challenge", "wanted"),
    [
        ('Bearer realm="https://gitlab.com/jwt/auth",service="container_registry"', "https://gitlab.com:443"),
        ('Bearer realm="https://git.example:8443/jwt/auth"', "https://git.example:8443"),
        ('Bearer realm="http://gitlab.com/jwt/auth"', None),  # a password is never sent in the clear
        ('Basic realm="x"', None),
        ("", None),
    ],
)
def test_where_gitlab_is(challenge, wanted):
    response = Response(401, Headers([("WWW-Authenticate", challenge)]), b"", f"{GITLAB.base_url}/v2/")
    assert find_gitlab(response, GITLAB) == wanted


def test_gitlab():
    request = build_list_gitlab_repositories(GITLAB, "https://gitlab.com:443", "group")
    url = "https://gitlab.com:443/api/v4/groups/group/registry/repositories"
    assert request.url == f"{url}?per_page=100&page=1"
    link = '<https://gitlab.com/api/v4/groups/group/registry/repositories?page=2>; rel="next"'
    page = parse_gitlab_repositories(
        answer(request.url, [{"path": "group/app", "location": "x"}], ("Link", link)), request.url
    )
    assert (page.names, page.next_url) == (("group/app",), f"{url}?page=2")
    elsewhere = answer(request.url, [], ("Link", '<https://evil.example/api>; rel="next"'))
    with pytest.raises(ProtocolViolation, match="another host"):
        parse_gitlab_repositories(elsewhere, request.url)
