from __future__ import annotations

import pytest

from image_syncer.oci import InvalidPlatform, Platform, PlatformFilter, parse_platform, platform_of_config


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/386", "linux/386"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/riscv64", "linux/riscv64"),
        ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ("windows(10.0.17763+win32k)/amd64", "windows(10.0.17763+win32k)/amd64"),
        ("linux(+gpu+nydus)/amd64", "linux(+gpu+nydus)/amd64"),
        (" linux/amd64\n", "linux/amd64"),
    ],
)
def test_platforms_are_read_into_one_spelling(text, spelling):
    platform = parse_platform(text)
    assert str(platform) == spelling
    assert parse_platform(spelling) == platform
    assert platform.normalized() == platform


@pytest.mark.parametrize(
    "text",
    [
        "", "linux", "amd64", "/", "linux/", "/amd64", "linux//v7", "linux/arm/v7/x", "linux/*", "lin ux/amd64",
        "linux/amd 64", "windows(10/amd64", "(10)/amd64", "*",
    ],
)  # fmt: skip
def test_what_is_not_a_platform_is_refused_with_a_sentence(text):
    with pytest.raises(InvalidPlatform, match="is not a platform: write os/architecture"):
        parse_platform(text)


@pytest.mark.parametrize("text", ["amd64/linux", "x86_64/linux", "arm/v7", "arm64/v8"])
def test_an_architecture_in_the_place_of_the_system_is_found(text):
    with pytest.raises(InvalidPlatform, match="begins with an architecture: write os/architecture, such as linux/"):
        parse_platform(text)


def test_os_features_are_a_set_that_is_written_in_order():
    platform = Platform("linux", "amd64", os_features=("b", "a", "b"))
    assert platform.normalized().os_features == ("a", "b")
    assert platform.normalized() == Platform("linux", "amd64", os_features=("a", "b"))


def test_a_platform_reads_well_whatever_a_stranger_wrote():
    assert str(Platform("", "")) == "unknown/unknown"
    assert str(Platform("linux", "amd64\x1b[31m", os_version="1 (a)")) == "linux(1%20%28a%29)/amd64%1B%5B31m"


def platforms(*texts: str) -> PlatformFilter:
    return PlatformFilter(platforms=tuple(map(parse_platform, texts)))


def test_a_filter_without_conditions_is_empty_and_takes_everything():
    assert PlatformFilter().is_empty
    assert PlatformFilter().matches(Platform("plan9", "sparc"))
    for wanted in (platforms("linux/arm"), PlatformFilter(os_names=("a",)), PlatformFilter(architectures=("a",))):
        assert not wanted.is_empty


@pytest.mark.parametrize(
    ("wanted", "given", "answer"),
    [
        ("linux/amd64", Platform("linux", "amd64"), True),
        ("linux/amd64", Platform("linux", "x86_64"), True),
        ("linux/amd64", Platform("linux", "amd64", "v1"), True),
        ("linux/amd64", Platform("linux", "amd64", "v2"), False),
        ("linux/amd64", Platform("windows", "amd64"), False),
        ("linux/amd64", Platform("linux", "386"), False),
        ("linux/arm64", Platform("linux", "arm64", "v8"), True),
        ("linux/arm64/v8", Platform("linux", "arm64"), True),
        ("linux/arm64", Platform("linux", "arm64", "v9"), False),
        ("linux/arm64", Platform("linux", "arm", "v7"), False),
        ("linux/arm", Platform("linux", "arm", "v7"), True),
        ("linux/arm", Platform("linux", "arm", "v6"), False),
        ("linux/arm/v7", Platform("linux", "arm"), True),
        ("linux/arm/v7", Platform("linux", "arm", "7"), True),
        ("linux/amd64", Platform("", "amd64"), False),
        ("linux/amd64", Platform("linux", ""), False),
        ("linux/amd64", Platform("unknown", "unknown"), False),
        ("windows/amd64", Platform("windows", "amd64", os_version="10.0.17763.5696"), True),
        ("windows(10.0.17763)/amd64", Platform("windows", "amd64", os_version="10.0.17763.5696"), True),
        ("windows(10.0.17763)/amd64", Platform("windows", "amd64", os_version="10.0.17763"), True),
        ("windows(10.0.1776)/amd64", Platform("windows", "amd64", os_version="10.0.17763.5696"), False),
        ("windows(10.0.17763.1)/amd64", Platform("windows", "amd64", os_version="10.0.17763"), False),
        ("windows(10.0.17763)/amd64", Platform("windows", "amd64"), False),
        ("windows/amd64", Platform("windows", "amd64", os_features=("win32k",)), True),
        ("windows(+win32k)/amd64", Platform("windows", "amd64", os_features=("x", "win32k")), True),
        ("windows(+win32k)/amd64", Platform("windows", "amd64"), False),
    ],
)
def test_whole_platforms(wanted, given, answer):
    assert platforms(wanted).matches(given) is answer


def test_a_pattern_is_normalised_too():
    wanted = PlatformFilter(platforms=(Platform("LINUX", "aarch64", "v8"),))
    assert wanted.matches(Platform("linux", "arm64"))


def test_one_of_several_platforms_is_enough():
    wanted = platforms("linux/amd64", "linux/arm64")
    assert wanted.matches(Platform("linux", "arm64", "v8"))
    assert not wanted.matches(Platform("linux", "s390x"))


@pytest.mark.parametrize(
    ("item", "given", "answer"),
    [
        ("amd64", Platform("linux", "amd64"), True),
        ("amd64", Platform("linux", "amd64", "v3"), True),
        ("x86_64", Platform("linux", "amd64"), True),
        ("amd64", Platform("linux", "arm64"), False),
        ("arm", Platform("linux", "arm", "v6"), True),
        ("arm", Platform("linux", "arm", "v7"), True),
        ("arm", Platform("linux", "arm"), True),
        ("arm", Platform("linux", "arm64"), False),
        ("arm:v7", Platform("linux", "arm", "v7"), True),
        ("arm:v7", Platform("linux", "arm"), True),
        ("arm/v7", Platform("linux", "arm", "v7"), True),
        ("arm:v7", Platform("linux", "arm", "v6"), False),
        ("armhf", Platform("linux", "arm", "v7"), True),
        ("armhf", Platform("linux", "arm", "v6"), False),
        ("arm64:v8", Platform("linux", "arm64"), True),
        ("arm64", Platform("linux", "arm64", "v8"), True),
        ("ARM64 ", Platform("linux", "aarch64"), True),
        ("amd64", Platform("linux", ""), True),
        ("linux/arm/v7", Platform("linux", "arm", "v7"), False),
    ],
)
def test_architectures(item, given, answer):
    assert PlatformFilter(architectures=(item,)).matches(given) is answer


@pytest.mark.parametrize(
    ("item", "given", "answer"),
    [
        ("linux", Platform("linux", "amd64"), True),
        ("Linux", Platform("linux", "amd64"), True),
        ("macos", Platform("darwin", "arm64"), True),
        ("linux", Platform("windows", "amd64"), False),
        ("linux", Platform("", "amd64"), True),
        ("windows:10.0.17763", Platform("windows", "amd64", os_version="10.0.17763.1"), True),
        ("windows:10.0.17763", Platform("windows", "amd64", os_version="10.0.20348.1"), False),
    ],
)
def test_os_names(item, given, answer):
    assert PlatformFilter(os_names=(item,)).matches(given) is answer


def test_all_conditions_must_hold():
    wanted = PlatformFilter((parse_platform("linux/amd64"), parse_platform("windows/amd64")), ("linux",), ("amd64",))
    assert wanted.matches(Platform("linux", "amd64"))
    assert not wanted.matches(Platform("windows", "amd64"))
    assert not wanted.matches(Platform("linux", "arm64"))


def test_the_platform_of_a_configuration():
    config = b'{"architecture":"arm","os":"linux","variant":"v6","os.version":"1","os.features":["a"],"rootfs":{}}'
    assert platform_of_config(config) == Platform("linux", "arm", "v6", "1", ("a",))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"null", b"\xff", b"PK\x03\x04", b'{"os":1}', b'{"os":"","architecture":""}', b'"linux"'],
)
def test_what_is_no_configuration_has_no_platform(raw):
    assert platform_of_config(raw) is None
