"""Addresses that registries hand out: opaque bytes stay, hosts are what they seem, and no text is too strange."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from image_syncer.errors import ProtocolViolation
from image_syncer.registry import may_carry_credentials, origin_of
from image_syncer.registry.location import append_query, resolve_location, resolve_own_location

if TYPE_CHECKING:
    from collections.abc import Callable

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
hosts = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,5}){0,2}", fullmatch=True),
    st.sampled_from(["127.0.0.1", "[::1]", "localhost"]),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
origins = st.builds("{}://{}{}".format, st.sampled_from(["http", "https"]), hosts, ports)
segments = st.text(st.sampled_from("abcXYZ019-_~%2F.+="), max_size=8)
paths = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
queries = st.one_of(st.just(""), st.text(VISIBLE, max_size=40).map(lambda text: "?" + text.replace("#", "")))
urls = st.builds("{}{}{}".format, origins, paths, queries)


@given(urls, urls)
def test_an_absolute_address_is_kept_byte_for_byte(request_url: str, location: str) -> None:
    assert resolve_location(request_url, location) == location


@given(urls, paths.filter(lambda path: not path.startswith("//")), queries)
def test_a_path_stays_on_the_host_with_every_byte(request_url: str, path: str, query: str) -> None:
    resolved = resolve_location(request_url, path + query)
    assert resolved.endswith(path + query)
    assert origin_of(resolved) == origin_of(request_url)
    assert may_carry_credentials(request_url, resolved)


@given(
    origins,
    paths.filter(lambda path: "//" not in path),
    st.lists(st.sampled_from(["a", "b", "..", ".", "uploads"]), min_size=1, max_size=6).map("/".join),
    queries.filter(lambda query: query != "?"),
)
def test_a_relative_path_is_joined_as_the_rfc_says(origin: str, base: str, relative: str, query: str) -> None:
    plain = urljoin(f"{origin}{base}", relative)
    assert resolve_location(f"{origin}{base}?x=1", relative + query) == plain + query


@given(urls, st.text(max_size=60))
@example("https://h/v2/", "https://h:443@evil/")
@example("https://h/v2/", "https://evil\\@h/")
@example("https://h/v2/", "//\x00")
def test_any_text_is_an_address_or_a_violation(request_url: str, location: str) -> None:
    try:
        resolved = resolve_own_location(request_url, location)
    except ProtocolViolation:
        return
    parts = urlsplit(resolved)
    host = (parts.hostname or "").lower()
    origin = origin_of(resolved)
    assert origin is not None
    assert origin == (parts.scheme, f"[{host}]" if ":" in host else host, origin[2])
    assert parts.username is None
    assert resolved.isascii()
    assert resolved.isprintable()
    assert " " not in resolved


@given(origins, paths, st.booleans(), st.one_of(st.text(max_size=20), st.text(VISIBLE, max_size=40), urls))
@example("https://h", "/v2/", True, "@evil/")
@example("https://h", "/v2/", True, ".evil/")
@example("https://h", "/v2/", True, ":443/x")
@example("https://h:0", "/v2/", True, "/x")
@example("http://h", "/v2/", False, "//evil/x")
@example("http://h", "/v2/", False, "/\\evil/x")
def test_an_address_of_the_same_registry_needs_no_other_rules(
    origin: str, path: str, absolute: bool, text: str
) -> None:
    """The short way of `resolve_own_location` takes nothing that `resolve_location` refuses or reads otherwise."""
    location = origin + text if absolute else text

    def resolved(how: Callable[[str, str], str]) -> str | None:
        try:
            return how(origin + path, location)
        except ProtocolViolation:
            return None

    general, own = resolved(resolve_location), resolved(resolve_own_location)
    if origin.startswith("http://") or (general is not None and general.startswith(origin + "/")):
        assert own == general
    elif general is None:
        assert own is None
    else:
        assert own is None or origin_of(own) in (origin_of(general), origin_of(origin))


@given(urls, urls)
def test_credentials_move_between_equal_origins_only(one: str, other: str) -> None:
    def parts_of(url: str) -> tuple[str, str | None, int]:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]

    assert may_carry_credentials(one, one)
    assert may_carry_credentials(one, other) is (parts_of(one) == parts_of(other))
    assert may_carry_credentials(one, other) is may_carry_credentials(other, one)


@given(urls)
def test_a_query_grows_at_its_end_only(url: str) -> None:
    grown = append_query(url, "digest=sha256%3A0")
    assert grown.startswith(url)
    assert grown[len(url) :] in {"digest=sha256%3A0", "&digest=sha256%3A0", "?digest=sha256%3A0"}
    assert "&digest=sha256%3A0" in grown or "?digest=sha256%3A0" in grown
