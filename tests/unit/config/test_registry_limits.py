from __future__ import annotations

import pytest

from image_syncer.config import Limits, RegistryBook, RegistryEntry
from image_syncer.config.loader import load_registries
from image_syncer.errors import ConfigurationError


def read(tmp_path, text):
    path = tmp_path / "auth.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registries(str(path), environ={}).registries


def test_the_smallest_of_a_hosts_entries_counts(tmp_path):
    book = read(
        tmp_path,
        "quay.io/a: {requests_per_s: 20}\nquay.io/b: {requests_per_s: 2.5}\nquay.io/c: {}\nghcr.io: {}\n",
    )
    assert book.limits() == {"quay.io": Limits(requests_per_s=2.5)}
    assert book.host_settings("quay.io").limits.requests_per_s == 2.5


@pytest.mark.parametrize("text", ["0", "-1", "0.01", "many", "1e3", "[1]", "nan"])
def test_what_is_no_number_of_requests_is_refused_with_its_line(tmp_path, text):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"quay.io:\n  requests_per_s: {text}\n")
    [problem] = caught.value.problems
    assert (problem.line, problem.key) == (2, "quay.io › requests_per_s")
    assert "is not a number from 0.1" in problem.what


def test_entries_that_bound_nothing_have_no_limits():
    assert RegistryBook([RegistryEntry("quay.io")]).limits() == {}


@pytest.mark.parametrize(
    "text",
    [
        "mon-fri 08:00-18:00=50MB/s,22:00-06:00=none,500MB/s",
        """
    - {days: mon-fri, from: "08:00", to: "18:00", rate: 50MB/s}
    - {from: "22:00", to: "06:00", rate: none}
    - rate: 500MB/s
""",
    ],
)
def test_rates_by_the_time_of_day_are_a_text_or_a_list(tmp_path, text):
    limits = read(tmp_path, f"quay.io:\n  rate: {text}\n").host_settings("quay.io").limits
    assert str(limits.rate) == "mon-fri 08:00-18:00=50MB/s,22:00-06:00=none,500MB/s"


@pytest.mark.parametrize("text", ["none", "0", "~", "''", "[{rate: none}]"])
def test_no_rate_is_no_limit(tmp_path, text):
    assert read(tmp_path, f"quay.io: {{rate: {text}}}\n").limits() == {}


@pytest.mark.parametrize(
    ("text", "line", "key", "what"),
    [
        ("fast", 2, "rate", "is not a rate"),
        ("{a: b}", 2, "rate", "where one text is wanted"),
        ("\n    - {rate: 1MB/s}\n    - {from: '25:00', to: '3:00', rate: 1MB/s}", 4, "rate[1]", "is not a time of day"),
        ("\n    - {from: '08:00', rate: 1MB/s}", 3, "rate[0]", "hours have a beginning and an end"),
        ("\n    - {from: '08:00', to: '9:00'}", 3, "rate[0]", "there is no rate"),
        ("\n    - 1MB/s", 3, "rate[0]", "where keys with values are wanted"),
        ("\n    - {rate: 1MB/s}\n    - {rate: 2MB/s}", 3, "rate", "never counts"),
    ],
)
def test_a_rate_that_cannot_be_read_is_told_with_its_line(tmp_path, text, line, key, what):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"quay.io:\n  rate: {text}\n")
    problem = next(one for one in caught.value.problems if what in one.what)
    assert (problem.line, problem.key) == (line, f"quay.io › {key}")
