from __future__ import annotations

import pytest

from image_syncer.errors import ProtocolViolation
from image_syncer.oci import Repository
from image_syncer.registry import Endpoint, Headers, Operation, Response
from image_syncer.registry.listings import (
    NamePage,
    build_list_catalog,
    build_list_tags,
    parse_catalog_page,
    parse_tag_page,
)

ENDPOINT = Endpoint("h", "https://h")
APP = Repository("h", "team/app")
FIRST = "https://h/v2/team/app/tags/list?n=2"
PATH = "https://h/v2/team/app/tags/list"


def page(body: bytes, *links: str) -> Response:
    return Response(200, Headers(("Link", link) for link in links), body, FIRST)


def next_url(*links: str) -> str | None:
    return parse_tag_page(page(b'{"tags":["a"]}', *links), FIRST).next_url


@pytest.mark.parametrize(("page_size", "query"), [(2, "?n=2"), (1000, "?n=1000"), (5000, "?n=1000"), (0, "")])
def test_tags_are_asked_for_in_pages(page_size: int, query: str) -> None:
    request = build_list_tags(ENDPOINT, APP, page_size=page_size)
    assert (request.operation, request.method, request.url) == (Operation.LIST_TAGS, "GET", PATH + query)
    assert request.headers == ()
    assert list(map(str, request.scopes)) == ["repository:team/app:pull"]


def test_the_next_page_is_asked_for_at_its_address() -> None:
    request = build_list_tags(ENDPOINT, APP, page_size=2, next_url=f"{PATH}?last=b&n=2")
    assert request.url == f"{PATH}?last=b&n=2"


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        (b'{"name":"team/app","tags":["v1","v2"]}', ("v1", "v2")),
        (b'{"name":"team/app","tags":null}', ()),
        (b'{"name":"team/app","tags":[]}', ()),
        (b'{"name":"team/app"}', ()),
        (b'{"tags":["b","a"],"child":[],"manifest":{}}', ("b", "a")),
        (b'{"tags":["v1","sha256:12","",".hidden","sha256__12"]}', ("v1", "sha256__12")),
    ],
)
def test_the_tags_of_a_page(body: bytes, tags: tuple[str, ...]) -> None:
    assert parse_tag_page(page(body), FIRST) == NamePage(tags, None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"tags":"v1"}', b'{"tags":[1]}', b"null", b"\xff"])
def test_a_body_that_is_no_list_is_a_violation(body: bytes) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_tag_page(page(body), FIRST)
    assert f"GET {PATH} answered 200" in caught.value.message


@pytest.mark.parametrize(
    "link",
    [
        '</v2/team/app/tags/list?last=b&n=2>; rel="next"',
        "</v2/team/app/tags/list?last=b&n=2>; rel=next",
        "</v2/team/app/tags/list?last=b&n=2>; REL=Next",
        "</v2/team/app/tags/list?last=b&n=2>",
        '<https://h/v2/team/app/tags/list?last=b&n=2>; rel="next"',
        '<https://h:443/v2/team/app/tags/list?last=b&n=2>; rel="next"',
        '<http://h/v2/team/app/tags/list?last=b&n=2>; rel="next"',
        '<<https://h/v2/team/app/tags/list?last=b&n=2>>; rel="next"',
        '<?last=b&n=2>; rel="next"',
        '<list?last=b&n=2>; rel="next"',
        '</artifactory/api/docker/local/v2/team/app/tags/list?last=b&n=2>; rel="next"',
        '</v2/team/app/tags/list?n=2>; rel="first", </v2/team/app/tags/list?last=b&n=2>; rel="next"',
        '</v2/team/app/tags/list?last=b&n=2>; title="a, b; c"; rel="prev next"',
    ],
)
def test_the_next_page_is_found(link: str) -> None:
    assert next_url(link) == f"{PATH}?last=b&n=2"


def test_the_next_page_may_stand_in_a_second_header() -> None:
    assert next_url('</help>; rel="help"', "<?last=b>; rel=next") == f"{PATH}?last=b"


def test_a_next_page_without_a_query_is_an_address_of_its_own() -> None:
    assert next_url("</v2/team/app/tags/page2>; rel=next") == "https://h/v2/team/app/tags/page2"


def test_every_byte_of_an_opaque_query_is_kept() -> None:
    assert next_url("</v2/team/app/tags/list?next_page=gAAAA%2B==&last=a%2Fb>; rel=next") == (
        f"{PATH}?next_page=gAAAA%2B==&last=a%2Fb"
    )


@pytest.mark.parametrize(
    "links", [(), ("",), ("</x?n=1>; rel=prev",), ("<>; rel=next",), ("nonsense",), ("<" * 99999,)]
)
def test_no_next_page_ends_the_list(links: tuple[str, ...]) -> None:
    assert next_url(*links) is None


@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example/v2/team/app/tags/list?last=b>; rel=next",
        "<//evil.example/v2/team/app/tags/list?last=b>; rel=next",
        "<https://h:8443/v2/team/app/tags/list?last=b>; rel=next",
        "<http://h:8080/v2/team/app/tags/list?last=b>; rel=next",
        "<https://user:pass@h/v2/?last=b>; rel=next",
        "<javascript:alert(1)>; rel=next",
    ],
)
def test_a_next_page_on_another_host_is_a_violation(link: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        next_url(link)
    assert "pass" not in str(caught.value)


def test_the_catalog_is_asked_for_and_read() -> None:
    request = build_list_catalog(ENDPOINT, page_size=100)
    assert (request.operation, request.url) == (Operation.LIST_CATALOG, "https://h/v2/_catalog?n=100")
    assert (request.repository, list(map(str, request.scopes))) == (Repository("h", "_catalog"), ["registry:catalog:*"])
    response = page(b'{"repositories":["a","b/c"]}', '</v2/_catalog?last=b%2Fc&n=2>; rel="next"')
    assert parse_catalog_page(response, request.url) == NamePage(("a", "b/c"), "https://h/v2/_catalog?last=b%2Fc&n=2")


def test_the_next_page_of_the_catalog_is_asked_for_at_its_address() -> None:
    assert build_list_catalog(ENDPOINT, page_size=1, next_url="https://h/v2/_catalog?x").url == (
        "https://h/v2/_catalog?x"
    )
