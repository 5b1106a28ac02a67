"""Whom summaries go to, when, and what is in them."""

from __future__ import annotations

import json

import pytest

from image_syncer.errors import redact
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals
from image_syncer.watch.webhooks import (
    FAILURES_TOLD,
    NotifyWhen,
    Webhook,
    is_wanted,
    parse_webhook,
    parse_webhook_file,
    summary_of,
)


def report_of(*results: ImageResult, interrupted: str | None = None) -> Report:
    totals = Totals()
    for result in results:
        totals.add(result)
    failures = tuple(result for result in results if result.outcome.is_failure)
    return Report({}, totals, "2026-01-01T00:00:00+00:00", 1.5, failures, interrupted)


def image(outcome: Outcome, number: int = 0, **facts) -> ImageResult:
    return ImageResult(f"src.example/app:v{number}", f"dst.example/app:v{number}", outcome, **facts)


def test_an_address_is_shown_by_its_host_alone() -> None:
    hook = parse_webhook("https://user:S3cretPassw0rd@hooks.example:8443/services/T00/B00/X1y2Z3a4?sig=Q9w8E7r6T5")
    assert str(hook) == "https://hooks.example:8443"
    assert "S3cret" not in repr(hook)
    told = redact("posting to services/T00/B00/X1y2Z3a4 as S3cretPassw0rd with sig=Q9w8E7r6T5")
    assert not any(secret in told for secret in ("X1y2Z3a4", "S3cretPassw0rd", "Q9w8E7r6T5"))


@pytest.mark.parametrize(
    "text",
    ["", "hooks.example", "ftp://hooks.example/x", "https://", "https://h:port/", "https://h/a b", "file:///etc"],
)
def test_what_is_no_address_is_refused_without_repeating_it(text) -> None:
    with pytest.raises(ValueError, match="write https://host/path") as caught:
        parse_webhook(text)
    assert str(caught.value) == "it is no address of a webhook: write https://host/path"


def test_a_file_has_addresses_and_fields_for_them() -> None:
    text = "# ours\nhttps://one.example/a\n\nAuthorization: Bearer T0kenOfTheHook\nhttps://two.example/b\n"
    fields = (("Authorization", "Bearer T0kenOfTheHook"),)
    assert parse_webhook_file(text) == (
        Webhook("https://one.example/a", fields),
        Webhook("https://two.example/b", fields),
    )
    assert "T0kenOfTheHook" not in redact("it said T0kenOfTheHook")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "there is no address"),
        ("X-Only: fields", "there is no address"),
        ("https://one.example\nno field", "line 2"),
        ("https://one.example\nHost: other", "line 2"),
        ("https://one.example\nBad Name: x", "line 2"),
        ("https://one.example\nX-A: a\x01b", "line 2"),
    ],
)
def test_mistakes_in_the_file_are_told_with_their_line(text, what) -> None:
    with pytest.raises(ValueError, match=what):
        parse_webhook_file(text)


@pytest.mark.parametrize(
    ("when", "result", "last", "wanted"),
    [
        ("always", Outcome.UNCHANGED, 0, True),
        ("failure", Outcome.COPIED, 0, False),
        ("failure", Outcome.FAILED, 0, True),
        ("failure", Outcome.UNCHANGED, 1, False),
        ("change", Outcome.UNCHANGED, 0, False),
        ("change", Outcome.UNCHANGED, None, False),
        ("change", Outcome.UNCHANGED, 1, True),
        ("change", Outcome.COPIED, 0, True),
        ("change", Outcome.FAILED, 1, True),
    ],
)
def test_when_they_are_told(when, result, last, wanted) -> None:
    assert is_wanted(NotifyWhen(when), report_of(image(result)), last) is wanted


def test_a_summary_has_counts_and_the_first_failures() -> None:
    failures = [image(Outcome.FAILED, number, reason="502: https://u:pw@h/x?token=abc") for number in range(15)]
    summary = summary_of(report_of(image(Outcome.COPIED, 99), *failures), cause="schedule", round_number=3)
    assert summary["images"] == 16
    assert summary["outcomes"]["failed"] == 15
    assert (summary["exit_code"], summary["ok"], summary["round"], summary["cause"]) == (1, False, 3, "schedule")
    assert len(summary["failures"]) == FAILURES_TOLD
    assert summary["failures"][0]["source"] == "src.example/app:v0"
    text = json.dumps(summary)
    assert "u:pw" not in text
    assert "abc" not in text


def test_an_interrupted_run_says_so() -> None:
    summary = summary_of(report_of(interrupted="SIGTERM"), cause="notification", round_number=1)
    assert (summary["interrupted"], summary["exit_code"]) == ("SIGTERM", 143)
