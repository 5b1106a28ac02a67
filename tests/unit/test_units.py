from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.units import format_duration, format_rate, format_size, parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64KiB", 64 * 2**10),
        ("64k", 64 * 2**10),
        ("64kb", 64_000),
        (" 16 MiB ", 16 * 2**20),
        ("1.5GB", 1_500_000_000),
        ("1.5GiB", 3 * 2**29),
        ("0.5k", 512),
        ("0.1B", 0),
        ("2T", 2 * 2**40),
        ("2tb", 2 * 10**12),
        ("9007199254740993", 9007199254740993),
        ("007", 7),
    ],
)
def test_sizes_that_people_write(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "MiB", "-1", "+1", "1.", ".5", "1,5GB", "1 2", "1KiBs", "1e3", "0x10", "inf", "nan", "٣", "9" * 400],
)
def test_what_is_no_size_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write a number with a unit, such as 512KiB"):
        parse_size(text)


def test_a_size_that_nothing_can_hold():
    assert parse_size("8388607TiB") == 8388607 * 2**40
    with pytest.raises(ValueError, match="more than any size can be"):
        parse_size("99999999999TiB")


@given(st.integers(0, 10**18 - 1))
def test_a_number_of_bytes_is_itself(size: int) -> None:
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (640, "640 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (640 * 2**10, "640 KiB"),
        (41 * 2**20, "41.0 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_sizes_that_people_read(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 2**50))
def test_a_size_that_was_read_is_nearly_the_one_that_was_meant(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.05)


def test_a_rate_is_a_size_a_second() -> None:
    assert format_rate(120.4 * 2**20) == "120 MiB/s"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
        (" 5m ", 300.0),
        ("0", 0.0),
    ],
)
def test_durations_that_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1", "-1s", "1h 30m", "1y", "5 minutes", "nan", "inf", "1h30", "9" * 400])
def test_what_is_no_duration_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (42.4, "42 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (90000, "25 h 0 min"),
    ],
)
def test_durations_that_people_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("200MB/s", 200e6),
        ("200MB", 200e6),
        ("1.5 MiB/s", 1.5 * 2**20),
        ("1Gbit/s", 125e6),
        ("100Mbps", 12.5e6),
        ("8 Kibit/s", 1024.0),
        ("0", 0.0),
    ],
)
def test_rates_are_bytes_or_bits_a_second(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "/s", "fast", "MB/s", "1MB/min", "1Qbit/s", "-1MB/s"])
def test_what_is_no_rate_is_said(text):
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)
