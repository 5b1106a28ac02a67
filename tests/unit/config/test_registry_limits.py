from __future__ import annotations

import pytest

from image_syncer.config import Limits, RegistryBook, RegistryEntry, load_registries
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
