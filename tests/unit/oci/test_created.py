"""When an image was created."""

from __future__ import annotations

import json

import pytest

from image_syncer.oci.manifest import created_of_config, created_of_schema1, parse_time

NEW_YEAR = 1_704_067_200.0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-01-01T00:00:00Z", NEW_YEAR),
        ("2024-01-01t00:00:00.5z", NEW_YEAR + 0.5),
        ("2024-01-01T02:00:00+02:00", NEW_YEAR),
        ("2024-01-01T00:00:00.123456789Z", NEW_YEAR + 0.123456),
        ("1970-01-01T00:00:00Z", 0.0),
        ("0001-01-01T00:00:00Z", -62_135_596_800.0),
        ("2024-01-01", None),
        ("2024-13-01T00:00:00Z", None),
        ("2024-01-01T00:00:00", None),
        ("٢024-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_parse_time(text, wanted):
    found = parse_time(text)
    assert found is None if wanted is None else found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b'{"created": "2024-01-01T00:00:00Z"}', NEW_YEAR),
        (b'{"created": null}', None),
        (b'{"created": 3}', None),
        (b"{}", None),
        (b"[]", None),
        (b"\x00", None),
    ],
)
def test_of_a_configuration(raw, wanted):
    assert created_of_config(raw) == wanted


def test_of_schema_1():
    history = [{"v1Compatibility": json.dumps({"created": "2024-01-01T00:00:00Z"})}, {"v1Compatibility": "{}"}]
    assert created_of_schema1(json.dumps({"history": history}).encode()) == NEW_YEAR
    for document in ({}, {"history": []}, {"history": [{"v1Compatibility": 3}]}, {"history": [3]}, []):
        assert created_of_schema1(json.dumps(document).encode()) is None
    assert created_of_schema1(b"\x00") is None
