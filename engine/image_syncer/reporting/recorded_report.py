"""The report of a finished run, read back from its file. Everything that is used of the file is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.reporting.json_file import (
    is_list_of,
    number_in,
    optional_text_in,
    read_file,
    text_in,
    texts_in,
    whole_in,
)
from image_syncer.telemetry.outcome import Difference, ImageResult, Outcome
from image_syncer.telemetry.report import MAX_FAILURES, TRANSFER_OUTCOMES, Report, Totals, TransferRecord
from image_syncer.values import Value, repr_without

_BEFORE_TRANSFERS, _AFTER_TRANSFERS = b'\n],\n"transfers": [\n', b"\n],\n"
_HINT = "Give the file that --report of a run wrote."
_LEFT = {outcome.value: outcome for outcome in (Outcome.FAILED, Outcome.NOT_TRIED)}


class RecordedReport(Value, frozen=True):
    """`report` as the run returned it, and its `transfers`; reports of old releases have none."""

    report: Report
    transfers: tuple[TransferRecord, ...] = ()
    unfinished: tuple[ImageResult, ...] = ()
    """All that failed or was not tried: names, outcome and `rule`."""
    pruned: Mapping[str, int] | None = None
    """The tags and manifests of a prune by their outcome ("deleted"); None where there was no prune."""
    recorded: Sequence[Any] = ()
    """Its images as they are in the file, unchecked; `images` checks them."""

    __repr__ = repr_without("recorded")

    def images(self) -> Iterator[ImageResult]:
        """All images, one after the other: names, outcome, reason, counts, error. Raises `ConfigurationError`."""
        try:
            yield from map(_image, self.recorded)
        except ValueError as error:
            raise ConfigurationError(f"in an image of the report, {error}", hint=_HINT) from None

    def failed_images(self) -> Iterator[ImageResult]:
        """The images that failed, were not tried, differ or were not checked. Raises `ConfigurationError`."""
        return (image for image in self.images() if image.outcome.is_failure)


def load_report(path: str) -> RecordedReport:
    """Read what `ReportWriter` wrote. Raises `ConfigurationError` where the file is something else, or cut off."""
    raw = read_file(path, "the report", _HINT)
    try:
        try:
            return _parse(*_in_pieces(raw))
        except orjson.JSONDecodeError:  # written by another program, or cut off
            return _parse(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise _not_json(path, raw, error) from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is no report of image-syncer: {error}", hint=_HINT) from None


def _in_pieces(raw: bytes) -> tuple[object, Iterable[object]]:
    """The document without its transfers, and these one by one: hundreds of thousands of JSON objects at once would
    take several times the memory of the file. Raises JSONDecodeError, perhaps while it is read, where the transfers are
    not one a line, as `ReportWriter` writes them.
    """
    at = raw.find(_BEFORE_TRANSFERS)
    begin = at + len(_BEFORE_TRANSFERS)
    end = raw.find(_AFTER_TRANSFERS, begin - 1)
    if at < 0 or end < 0:
        raise orjson.JSONDecodeError("no transfers, one a line", "", 0)
    return orjson.loads(raw[:begin] + raw[end:]), _lines(raw, begin, end)


def _lines(raw: bytes, begin: int, end: int) -> Iterator[object]:
    while begin < end:
        last = raw.find(b"\n", begin, end)
        last = end if last < 0 else last
        yield orjson.loads(raw[begin:last].removesuffix(b","))
        begin = last + 1


def _not_json(path: str, raw: bytes, error: orjson.JSONDecodeError) -> ConfigurationError:
    text = raw.strip()
    if not text and not path.endswith(".partial"):
        return ConfigurationError(f"{path} is empty", hint=_HINT)
    # What is written in pieces may end with the brace of an image.
    cut_off = text.startswith(b"{") and (not text.endswith(b"}") or "unexpected end" in error.msg)
    if cut_off or not text:
        return ConfigurationError(
            f"{path} ends in the middle: it was cut off, or its run is not over",
            hint="A report is whole when it has the name that --report gave it; until then it is FILE.partial.",
        )
    return ConfigurationError(f"{path} is not JSON: {error.msg} (line {error.lineno})", hint=_HINT)


# What is in the document; each function raises ValueError with a sentence for people.


def _parse(document: object, lines: Iterable[object] | None = None) -> RecordedReport:
    """The report; its transfers are those of `lines`, where there are any."""
    if not isinstance(document, Mapping):
        raise ValueError("it is no JSON object")
    for name, kind in (("images", list), ("totals", Mapping), ("settings", Mapping)):
        if not isinstance(document.get(name), kind):
            raise ValueError(f"it has no {name}")
    unfinished = _unfinished(document["images"])
    report = Report(
        settings=document["settings"],
        totals=_totals(document["totals"]),
        started_at=text_in(document, "started_at"),
        seconds=number_in(document, "seconds"),
        failures=tuple(one for one in unfinished if one.outcome is Outcome.FAILED)[:MAX_FAILURES],
        interrupted=optional_text_in(document, "interrupted"),
        warnings=_required_texts(document, "warnings"),
        mirrors={
            name: {key: whole_in(each, key) for key in ("bytes", "failures")}
            for name, each in _objects(document.get("mirrors", {}), "mirrors").items()
        },
        usage=_numbers(document.get("usage", {})),
        kind=text_in(document, "kind") if "kind" in document else "sync",
        internal_error=optional_text_in(document, "internal_error"),
        resumes={name: int(count) for name, count in _numbers(document.get("resumes", {})).items()},
        limits={
            name: {
                "refused": whole_in(each, "refused"),
                "left_alone_s": number_in(each, "left_alone_s"),
                **{kind: _points(each.get(kind, [])) for kind in ("requests_per_s", "bytes_per_s", "connections")},
            }
            for name, each in _objects(document.get("limits", {}), "limits").items()
        },
    )
    transfers = document.get("transfers", []) if lines is None else lines
    if lines is None and not isinstance(transfers, list):
        raise ValueError("its transfers are no list")
    moved = tuple(_transfer(each, number) for number, each in enumerate(transfers, 1))
    return RecordedReport(report, moved, tuple(unfinished), _pruned(document.get("pruned")), document["images"])


def _required_texts(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return texts_in({name: data.get(name)}, name)


def _objects(data: object, name: str) -> dict[str, Mapping[str, Any]]:
    if not isinstance(data, Mapping) or not all(isinstance(each, Mapping) for each in data.values()):
        raise ValueError(f"its {name} are no JSON objects")
    return dict(data)


def _numbers(data: object) -> dict[str, float]:
    if not isinstance(data, Mapping):
        raise ValueError("its usage is no JSON object")
    return {name: number_in(data, name) for name in data}


def _totals(data: Mapping[str, Any]) -> Totals:
    outcomes, requests = data.get("outcomes"), data.get("requests")
    if not isinstance(outcomes, Mapping) or not isinstance(requests, Mapping):
        raise ValueError("its totals have no outcomes or no requests")
    names = ("bytes_moved", "bytes_planned", "blobs_moved", "blobs_mounted", "blobs_present")
    checks = ("manifests_checked", "blobs_checked", "bytes_read", "differences")  # not in reports of old releases
    return Totals(
        outcomes={outcome: whole_in(outcomes, outcome.value) for outcome in Outcome if outcome.value in outcomes},
        requests={kind: whole_in(requests, kind) for kind in requests},
        **{name: whole_in(data, name) for name in (*names, *(name for name in checks if name in data))},
    )


def _points(data: object) -> list[tuple[float, float | None]]:
    """What `Series.as_data` wrote."""
    if not is_list_of(data, list) or not all(len(each) == 2 for each in data):  # noqa: PLR2004 - time and value
        raise ValueError("a limit over time is no list of pairs")
    pairs = [{"time": at, "value": value} for at, value in data]
    return [(number_in(each, "time"), None if each["value"] is None else number_in(each, "value")) for each in pairs]


def _pruned(data: object) -> dict[str, int] | None:
    if data is None:
        return None
    deletions = data.get("deletions") if isinstance(data, Mapping) else None
    if not is_list_of(deletions, Mapping):
        raise ValueError("what it pruned is no list of JSON objects")
    return dict(Counter(text_in(each, "outcome") for each in deletions))


def _image(data: object) -> ImageResult:
    if not isinstance(data, Mapping):
        raise ValueError("there is no JSON object")
    try:
        outcome = Outcome(data.get("outcome"))
    except ValueError:
        raise ValueError("the outcome is none that this release knows") from None
    names = ("bytes_moved", "bytes_total", "blobs_moved", "blobs_mounted", "blobs_present", "tries")
    return _result(
        data,
        outcome=outcome,
        seconds=number_in(data, "seconds") if "seconds" in data else 0,
        differences=_differences(data.get("differences")),
        **{name: whole_in(data, name) for name in names if name in data},
    )


def _unfinished(images: list[Any]) -> list[ImageResult]:
    found: list[ImageResult] = []
    for image in images:
        if not isinstance(image, Mapping):
            raise ValueError("one of its images is no JSON object")
        if (outcome := _LEFT.get(str(image.get("outcome")))) is None:
            continue
        rule = image.get("rule")
        if rule is not None and not isinstance(rule, Mapping):
            raise ValueError("the rule of one of its images is no JSON object")
        found.append(_result(image, outcome=outcome, rule=rule))
    return found


def _result(data: Mapping[str, Any], **others: Any) -> ImageResult:
    error = data.get("error")
    if error is not None and not isinstance(error, Mapping):
        raise ValueError("the error of one of its images is no JSON object")
    return ImageResult(
        source=text_in(data, "source"),
        destination=text_in(data, "destination"),
        reason=optional_text_in(data, "reason"),
        error=error,
        **others,
    )


def _differences(data: object) -> tuple[Difference, ...] | None:
    if data is None:
        return None
    if not is_list_of(data, Mapping):
        raise ValueError("the differences are no list of JSON objects")
    return tuple(Difference(*(text_in(each, name) for name in ("what", "where", "expected", "found"))) for each in data)


def _transfer(data: object, number: int) -> TransferRecord:
    try:
        return _parse_transfer(data)
    except ValueError as error:
        raise ValueError(f"in transfer {number}, {error}") from None


def _parse_transfer(data: object) -> TransferRecord:
    if not isinstance(data, Mapping):
        raise ValueError("there is no JSON object")
    # A report of another release may have unknown fields, and lack some that have defaults.
    counts = ("pauses", "source_resumes", "destination_resumes")
    others: dict[str, Any] = {name: whole_in(data, name) for name in counts if name in data}
    others |= {name: number_in(data, name) for name in ("source_waited_s", "destination_waited_s") if name in data}
    record = TransferRecord(
        digest=text_in(data, "digest"),
        size_bytes=whole_in(data, "size_bytes", at_least=-1),
        source=intern(text_in(data, "source")),
        destinations=tuple(map(intern, _required_texts(data, "destinations"))),
        worker=whole_in(data, "worker"),
        began_s=number_in(data, "began_s"),
        ended_s=number_in(data, "ended_s"),
        bytes_moved=whole_in(data, "bytes_moved"),
        outcomes=tuple(map(intern, _required_texts(data, "outcomes"))),
        **others,
    )
    if record.ended_s < record.began_s:
        raise ValueError("ended_s is before began_s")
    if not record.outcomes or len(record.outcomes) != len(record.destinations):
        raise ValueError("there is not one outcome for each destination")
    if not set(record.outcomes) <= set(TRANSFER_OUTCOMES):
        raise ValueError(f"outcomes are others than {', '.join(TRANSFER_OUTCOMES)}")
    return record
