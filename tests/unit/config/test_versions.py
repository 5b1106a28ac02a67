"""Which tags are meant by a range of versions, and which are the newest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.config import TagSelection
from image_syncer.config.findings import RuleError
from image_syncer.config.tag_filters import VersionSelection, _parse, _range, check_range

TAGS = [
    "latest",
    "1",
    "1.19",
    "v1.20",
    "1.20.0",
    "1.20.3",
    "1.21.0-rc.1",
    "1.20-alpine",
    "2.0.0",
    "2.0.0-rc1",
    "1.2.3.4",
]


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (VersionSelection(), ["1", "1.19", "v1.20", "1.20.0", "1.20.3", "2.0.0"]),
        (VersionSelection(">=1.20 <2"), ["v1.20", "1.20.0", "1.20.3"]),
        (VersionSelection(">=1.20 <2", prereleases=True), ["v1.20", "1.20.0", "1.20.3", "1.21.0-rc.1", "1.20-alpine"]),
        (VersionSelection("^1"), ["1", "1.19", "v1.20", "1.20.0", "1.20.3"]),
        (VersionSelection("~1.20.1 || >=2"), ["1.20.3", "2.0.0"]),
        (VersionSelection("1.x", newest=2), ["1.20.0", "1.20.3"]),
        (VersionSelection(newest=1), ["2.0.0"]),
        (VersionSelection(newest=1, prereleases=True, within="<2"), ["1.21.0-rc.1"]),
        (VersionSelection(suffix="-alpine"), ["1.20-alpine"]),
        (VersionSelection("<1", newest=3), []),
    ],
)
def test_select(selection: VersionSelection, wanted: list[str]) -> None:
    assert selection.select(TAGS) == wanted


@pytest.mark.parametrize("tag", ["1.0-rc..1", "1.0-01", "v", "V1", "1.", ".1", "1.0+", "٣", "1" * 21, "1.0\n", ""])
def test_no_version(tag: str) -> None:
    assert VersionSelection(prereleases=True).select([tag]) == []


def test_a_date_and_zeros_in_front_are_numbers() -> None:
    assert VersionSelection(">=20240101", newest=1).select(["20231231", "20240101", "2024.01.02"]) == ["20240101"]
    assert VersionSelection("2024.x").select(["2024.01.02"]) == ["2024.01.02"]


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        (" >= 1.20, < 2 ", ">=1.20 <2"),
        ("1.2 - 1.5", "1.2 - 1.5"),
        ("*", "*"),
        ("1||^3", "1||^3"),
        (">=v1.2 <V2", ">=1.2 <2"),
        (">=1.2.3-rc.1,<2", ">=1.2.3-rc.1 <2"),
    ],
)
def test_a_range(text: str, spelling: str) -> None:
    assert check_range(text) == spelling


@pytest.mark.parametrize("text", ["", "  ", "abc", ">=x.y", "!=1", "1.2.3.4", ">" * 201, "1 &&& 2", ">=1 - 2", ","])
def test_no_range(text: str) -> None:
    with pytest.raises(RuleError):
        check_range(text)


numbers = st.integers(0, 30)
versions = st.builds(lambda a, b, c: f"{a}.{b}.{c}", numbers, numbers, numbers)


@given(st.lists(versions, unique=True), st.integers(1, 5), st.integers(1, 7))
def test_the_newest_of_pages_are_the_newest_of_all(tags: list[str], newest: int, page: int) -> None:
    selection = TagSelection(versions=VersionSelection(newest=newest))
    kept: list[str] = []
    for begin in range(0, len(tags), page):
        kept = selection.select([*kept, *tags[begin : begin + page]])
        assert len(kept) <= newest
    by_number = sorted(tags, key=lambda tag: [int(part) for part in tag.split(".")])
    assert set(kept) == set(by_number[-newest:])


def test_other_conditions_come_first() -> None:
    selection = TagSelection(include=("1.*",), exclude=("*.3",), versions=VersionSelection(newest=1))
    assert selection.compares
    assert selection.select(TAGS) == ["1.20.0"]
    assert not TagSelection(versions=VersionSelection("1.x")).compares


NUMBERS = st.sampled_from(["0", "1", "2", "10", "00", "01", "20240101", "9" * 20])
RESTS = st.sampled_from(["", "-rc.1", "-rc1", "-0", "-01", "-1.2", "-rc..1", "+b", "+b.1", "-rc.1+b", "-", "+b-c"])
WRITTEN = st.builds(
    lambda v, numbers, rest: f"{v}{'.'.join(numbers)}{rest}",
    st.sampled_from(["", "v"]),
    st.lists(NUMBERS, min_size=1, max_size=4),
    RESTS,
)
RANGES = st.sampled_from(
    [
        "*",
        ">=1.20 <2",
        "^1.2",
        "^0.1.2",
        "~1.2.3",
        "1.x",
        "1.2 - 1.5",
        "<1 || >=2",
        "1.0.0",
        ">1",
        "<=1",
        ">=1.0.0-rc.1",
        "<1.0.0-rc.1",
        ">1.0.0-rc.1",
        "<=1.0.0-rc.1",
        "1.0.0-rc.1",
        "1.0.0+b",
        ">=0.0.1 <10",
        "x",
        "1",
        "~1",
        "^1.0.0-0",
        "<2 >=1 || 10.x || 20240101",
    ]
)


def library_select(selection: VersionSelection, tags: list[str]) -> list[str]:
    """What the library says of each tag, with no way around it."""
    found = []
    for tag in tags:
        version = _parse(tag)
        if version is None or (version.prerelease and not selection.prereleases):
            continue
        if selection.within is None or _range(selection.within).match(
            version.truncate() if version.prerelease else version
        ):
            found.append((version, tag))
    if selection.newest is None or len(found) <= selection.newest:
        return [tag for _, tag in found]
    kept = set(sorted(found, key=lambda one: (one[0], len(one[1]), one[1]))[-selection.newest :])
    return [tag for version, tag in found if (version, tag) in kept]


@given(
    st.lists(WRITTEN, max_size=12, unique=True),
    st.one_of(st.none(), RANGES),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_what_is_said_without_the_library_is_what_it_says(
    tags: list[str], within: str | None, prereleases: bool, newest: int | None
) -> None:
    if within is not None:
        try:
            within = check_range(within)
        except RuleError:
            within = None
    selection = VersionSelection(within, prereleases, newest)
    assert selection.select(tags) == library_select(selection, tags)


@given(st.lists(WRITTEN, max_size=12, unique=True), st.booleans())
def test_each_tag_is_explained_as_it_is_selected(tags: list[str], prereleases: bool) -> None:
    selection = VersionSelection("^1 || >=2.0.0-rc.1", prereleases)
    assert selection.select(tags) == [tag for tag in tags if selection.explain(tag)[0]]
