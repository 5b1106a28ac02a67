"""Platforms read back as they were written; filters and the selection from an index keep their laws."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_syncer.oci import (
    OCI_INDEX,
    OCI_MANIFEST,
    InvalidPlatform,
    Platform,
    PlatformFilter,
    digest_of,
    parse_manifest,
    parse_platform,
    select_platforms,
)

OS_NAMES = ("linux", "windows", "macos", "darwin", "Linux")
ARCHITECTURES = ("amd64", "x86_64", "arm64", "aarch64", "arm", "armhf", "armel", "386", "i386", "riscv64", "ARM64")
VARIANTS = ("", "v1", "v2", "v5", "v6", "v7", "7", "v8", "8", "V9")
VERSIONS = ("", "10", "10.0", "10.0.17763", "10.0.17763.1", "10.0.20348.2", "1 (x)/%+y")
FEATURES = ("win32k", "gpu", "a+b", "(", "ü")
PLATFORMS = st.builds(
    Platform,
    st.sampled_from(OS_NAMES),
    st.sampled_from(ARCHITECTURES),
    st.sampled_from(VARIANTS),
    st.sampled_from(VERSIONS),
    st.lists(st.sampled_from(FEATURES), max_size=3).map(tuple),
)
PLAIN_PLATFORMS = st.builds(
    Platform, st.sampled_from(OS_NAMES), st.sampled_from(ARCHITECTURES), st.sampled_from(VARIANTS)
)
FILTERS = st.builds(
    PlatformFilter,
    st.lists(PLAIN_PLATFORMS, max_size=3).map(tuple),
    st.lists(st.sampled_from((*OS_NAMES, "windows:10.0")), max_size=2).map(tuple),
    st.lists(st.sampled_from((*ARCHITECTURES, "arm:v7", "arm/v6", "arm64:v8")), max_size=3).map(tuple),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
UNKNOWN_FIELDS = st.dictionaries(st.text(max_size=5).map(lambda name: f"x-{name}"), JSON, max_size=3)


@st.composite
def indexes(draw: st.DrawFn) -> bytes:
    """An index with images, attestations of them, and other things, in any order, spelled in any way."""
    entries: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 6))):
        content = f"image {number}".encode()
        entry: dict[str, Any] = {"digest": str(digest_of(content)), "size": len(content), "mediaType": OCI_MANIFEST}
        platform = draw(st.none() | PLAIN_PLATFORMS)
        if platform:
            entry["platform"] = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
        entries.append(entry | draw(UNKNOWN_FIELDS))
        if draw(st.booleans()):
            annotations = {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": str(digest_of(f"image {draw(st.integers(0, 6))}".encode())),
            }
            of = f"attestation {number}".encode()
            unknown = {"os": "unknown", "architecture": "unknown"}
            entries.append(
                {"digest": str(digest_of(of)), "size": len(of), "annotations": annotations, "platform": unknown}
            )
    fields = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": draw(st.permutations(entries))}
    document = draw(st.permutations([*fields.items(), *draw(UNKNOWN_FIELDS).items()]))
    return json.dumps(
        dict(document), indent=draw(st.none() | st.integers(0, 3)), ensure_ascii=draw(st.booleans())
    ).encode()


@given(PLATFORMS)
def test_platforms_read_back_as_they_were_written(platform):
    normal = platform.normalized()
    assert parse_platform(str(normal)) == normal
    assert parse_platform(str(platform)) == normal


@given(PLATFORMS)
def test_there_is_one_spelling(platform):
    normal = platform.normalized()
    assert normal.normalized() == normal


@given(st.text() | st.text(alphabet="linuxarmv7/()+.%4 ", max_size=20))
@example("a(%ff)/b")
def test_any_text_is_a_platform_or_is_refused_with_a_sentence(text):
    try:
        platform = parse_platform(text)
    except InvalidPlatform as error:
        sentence = str(error)
        assert sentence.isprintable()
    else:
        assert parse_platform(str(platform)) == platform


@given(st.builds(Platform, st.text(), st.text(), st.text(), st.text(), st.lists(st.text(), max_size=2).map(tuple)))
def test_a_platform_of_a_stranger_is_printed_in_plain_ascii(platform):
    assert str(platform).isascii()
    assert str(platform).isprintable()
    assert " " not in str(platform)


@given(PLATFORMS)
def test_a_platform_is_what_its_own_filter_wants(platform):
    assert PlatformFilter(platforms=(platform,)).matches(platform)
    assert PlatformFilter(os_names=(platform.os,)).matches(platform)
    assert PlatformFilter(architectures=(platform.architecture,)).matches(platform.normalized())


@given(FILTERS, PLATFORMS)
def test_a_filter_does_not_mind_the_spelling(wanted, platform):
    assert wanted.matches(platform) == wanted.matches(platform.normalized())


@given(FILTERS, PLATFORMS)
def test_every_condition_must_hold(wanted, platform):
    alone = (
        PlatformFilter(platforms=wanted.platforms),
        PlatformFilter(os_names=wanted.os_names),
        PlatformFilter(architectures=wanted.architectures),
    )
    assert wanted.matches(platform) == all(condition.matches(platform) for condition in alone)


@given(FILTERS, PLAIN_PLATFORMS, PLATFORMS)
def test_one_platform_more_never_wants_less(wanted, more, platform):
    wider = PlatformFilter((*wanted.platforms, more), wanted.os_names, wanted.architectures)
    assert not (wanted.platforms and wanted.matches(platform)) or wider.matches(platform)


@given(indexes(), FILTERS)
@settings(deadline=None)
def test_what_was_selected_is_selected_whole(raw, wanted):
    selected = select_platforms(parse_manifest(raw, None), wanted)
    if selected is not None:
        assert select_platforms(selected, wanted) is selected


@given(indexes(), FILTERS)
@settings(deadline=None)
def test_the_same_index_is_always_rewritten_to_the_same_bytes(raw, wanted):
    one, two = (select_platforms(parse_manifest(bytes(raw), header), wanted) for header in (None, OCI_INDEX))
    assert one == two


@given(indexes(), FILTERS)
@settings(deadline=None)
def test_only_entries_go_and_everything_else_stays(raw, wanted):
    index = parse_manifest(raw, None)
    selected = select_platforms(index, wanted)
    before = json.loads(raw)
    if selected is None:
        assert before["manifests"]
        return
    after = json.loads(selected.raw)
    assert list(after) == list(before)
    remaining = iter(before["manifests"])
    assert all(entry in remaining for entry in after["manifests"])  # a subsequence: the order stays
    assert {**after, "manifests": 0} == {**before, "manifests": 0}
    assert (selected is index) == (len(after["manifests"]) == len(before["manifests"]))
    assert selected.digest == digest_of(selected.raw)


@given(indexes(), FILTERS)
@settings(deadline=None)
def test_an_entry_stays_if_and_only_if_it_is_wanted(raw, wanted):
    index = parse_manifest(raw, None)
    selected = select_platforms(index, wanted)
    kept = {child.digest for child in selected.children} if selected else set()
    for child in index.children:
        of = child.annotations.get("vnd.docker.reference.digest")
        if wanted.is_empty:
            assert child.digest in kept
        elif of is not None:
            assert (child.digest in kept) == (of in kept)
        else:
            assert (child.digest in kept) == (child.platform is None or wanted.matches(child.platform))
