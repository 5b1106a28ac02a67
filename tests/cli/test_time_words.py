"""Words for times that are estimates."""

from __future__ import annotations

import pytest

from image_syncer import Snapshot
from image_syncer_cli.display.screen import about, left_words, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (4.9, "a few seconds"),
        (6, "about 5 s"),
        (47, "about 45 s"),
        (95, "about 2 min"),
        (700, "about 12 min"),
        (1900, "about 30 min"),
        (9000, "about 2.5 h"),
        (3 * 86400, "about 3 days"),
    ],
)
def test_one_number_is_round(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "least_s", "most_s", "words"),
    [
        (700, 600, 840, "10-14 min"),
        (700, 690, 710, "about 12 min"),
        (30, 20, 45, "20-45 s"),
        (4, 1, 8, "a few seconds"),
        (50, 1, 100, "1-2 min"),
        (7000, 5000, 9000, "1.5-2.5 h"),
        (100, 95, 115, "about 2 min"),
    ],
)
def test_a_span_is_told_where_it_is_wide(seconds: float, least_s: float, most_s: float, words: str) -> None:
    assert span(seconds, least_s, most_s) == words


def test_what_is_left_of_a_run() -> None:
    unknown = Snapshot(images_total=9)
    assert left_words(unknown) is None
    known = Snapshot(images_total=9, images_done=3, eta_s=700, eta_least_s=600, eta_most_s=840)
    assert left_words(known) == "10-14 min left"
    listing = Snapshot(images_total=9, images_done=3, eta_s=700, eta_least_s=690, eta_most_s=710, listing=True)
    assert left_words(listing) == "at least 12 min left"
    assert left_words(Snapshot(images_total=9, images_done=9, eta_s=0.0)) is None
