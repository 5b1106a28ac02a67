"""RecordedReport: the report of a run that is over, read back from its file.

The file comes from a disk, and perhaps from a stranger: everything that is used is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry.outcome import Difference, ImageResult, Outcome
from image_syncer.telemetry.report import MAX_FAILURES, Report, Totals
from image_syncer.telemetry.transfer_record import TRANSFER_OUTCOMES, TransferRecord
from image_syncer.values import Value, repr_without

__all__ = ["RecordedReport", "load_report"]

_BEFORE_TRANSFERS, _AFTER_TRANSFERS = b'\n],\n"transfers": [\n', b"\n],\n"
_HINT = "Give the file that --report of a run wrote."
_MOST = 2.0**63
"""No size, count or number of seconds is larger; arithmetic on what is smaller stays finite."""


_LEFT = {outcome.value: outcome for outcome in (Outcome.FAILED, Outcome.NOT_TRIED)}


class RecordedReport(Value, frozen=True):
    """`report` as the run returned it, and its `transfers`; reports of old releases have none."""

    report: Report
    transfers: tuple[TransferRecord, ...] = ()
    unfinished: tuple[ImageResult, ...] = ()
    """All that failed or was not tried: names, outcome and `rule`."""
    pruned: Mapping[str, int] | None = None
    """How many tags and manifests of a prune came to which outcome ("deleted"); None where none was asked for."""
    recorded: Sequence[Any] = ()
    """Its images as they stand in the file, unchecked; `images` checks them."""

    __repr__ = repr_without("recorded")

    def images(self) -> Iterator[ImageResult]:
        """All images, one after the other: names, outcome, reason, counts, error. Raises `ConfigurationError`."""
        try:
            yield from map(_image, self.recorded)
        except _Wrong as wrong:
            raise ConfigurationError(f"in an image of the report, {wrong}", hint=_HINT) from None

    def failed_images(self) -> Iterator[ImageResult]:
        """Those that are not as wanted: failed, not tried, different or not checked. Raises `ConfigurationError`."""
        return (image for image in self.images() if image.outcome.is_failure)


def load_report(path: str) -> RecordedReport:
    """Reads what `ReportWriter` wrote. Raises `ConfigurationError` where the file is something else, or cut off."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the report {path} cannot be read: {error.strerror}", hint=_HINT) from None
    try:
        try:
            return _parse(*_in_pieces(raw))
        except orjson.JSONDecodeError:  # written by something else, or cut off
            return _parse(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise _not_json(path, raw, error) from None
    except _Wrong as wrong:
        raise ConfigurationError(f"{path} is no report of image-syncer: {wrong}", hint=_HINT) from None


def _in_pieces(raw: bytes) -> tuple[object, Iterable[object]]:
    """The document without its transfers, and these one by one, as `ReportWriter` writes them a line each: hundreds of
    thousands of JSON objects at once would take several times the memory of the file. Raises JSONDecodeError, in the
    middle too, where it is not so.
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


class _Wrong(Exception):  # noqa: N818 - says what is wrong, and never leaves this module
    """A part of the document is not what it should be."""


def _not_json(path: str, raw: bytes, error: orjson.JSONDecodeError) -> ConfigurationError:
    text = raw.strip()
    if not text and not path.endswith(".partial"):
        return ConfigurationError(f"{path} is empty", hint=_HINT)
    # What is written in pieces may well end with the brace of an image.
    cut_off = text.startswith(b"{") and (not text.endswith(b"}") or "unexpected end" in error.msg)
    if cut_off or not text:
        return ConfigurationError(
            f"{path} ends in the middle: it was cut off, or its run is not over",
            hint="A report is whole when it has the name that --report gave it; until then it is FILE.partial.",
        )
    return ConfigurationError(f"{path} is not JSON: {error.msg} (line {error.lineno})", hint=_HINT)


def _parse(document: object, lines: Iterable[object] | None = None) -> RecordedReport:
    """The report; its transfers are those of `lines`, where there are any."""
    if not isinstance(document, Mapping):
        raise _Wrong("it is no JSON object")
    for name, kind in (("images", list), ("totals", Mapping), ("settings", Mapping)):
        if not isinstance(document.get(name), kind):
            raise _Wrong(f"it has no {name}")
    interrupted, internal_error = document.get("interrupted"), document.get("internal_error")
    unfinished = _unfinished(document["images"])
    report = Report(
        settings=document["settings"],
        totals=_totals(document["totals"]),
        started_at=_text(document, "started_at"),
        seconds=_number(document, "seconds"),
        failures=tuple(one for one in unfinished if one.outcome is Outcome.FAILED)[:MAX_FAILURES],
        interrupted=None if interrupted is None else _text(document, "interrupted"),
        warnings=_texts(document, "warnings"),
        mirrors=_mirrors(document.get("mirrors", {})),
        usage=_usage(document.get("usage", {})),
        kind=_text(document, "kind") if "kind" in document else "sync",
        internal_error=None if internal_error is None else _text(document, "internal_error"),
        resumes={str(name): int(count) for name, count in _usage(document.get("resumes", {})).items()},
        limits=_limits(document.get("limits", {})),
    )
    transfers = document.get("transfers", []) if lines is None else lines
    if lines is None and not isinstance(transfers, list):
        raise _Wrong("its transfers are no list")
    moved = tuple(_transfer(each, number) for number, each in enumerate(transfers, 1))
    return RecordedReport(report, moved, tuple(unfinished), _pruned(document.get("pruned")), document["images"])


def _totals(data: Mapping[str, Any]) -> Totals:
    outcomes, requests = data.get("outcomes"), data.get("requests")
    if not isinstance(outcomes, Mapping) or not isinstance(requests, Mapping):
        raise _Wrong("its totals have no outcomes or no requests")
    known = [outcome for outcome in Outcome if outcome.value in outcomes]
    names = ("bytes_moved", "bytes_planned", "blobs_moved", "blobs_mounted", "blobs_present")
    checks = ("manifests_checked", "blobs_checked", "bytes_read", "differences")  # not in reports of old releases
    return Totals(
        outcomes={outcome: _whole(outcomes, outcome.value) for outcome in known},
        requests={kind: _whole(requests, kind) for kind in requests},
        **{name: _whole(data, name) for name in (*names, *(name for name in checks if name in data))},
    )


def _limits(data: object) -> dict[str, dict[str, Any]]:
    if not isinstance(data, Mapping) or not all(isinstance(each, Mapping) for each in data.values()):
        raise _Wrong("its limits are no JSON objects")
    return {
        str(name): {
            "refused": _whole(each, "refused"),
            "left_alone_s": _number(each, "left_alone_s"),
            **{kind: _points(each.get(kind, [])) for kind in ("requests_per_s", "bytes_per_s", "connections")},
        }
        for name, each in data.items()
    }


def _points(data: object) -> list[tuple[float, float | None]]:
    """What `Series.as_data` wrote."""
    if not isinstance(data, list) or not all(isinstance(each, list) and len(each) == 2 for each in data):  # noqa: PLR2004 - time and value
        raise _Wrong("a limit over time is no list of pairs")
    pairs = [{"time": at, "value": value} for at, value in data]
    return [(_number(each, "time"), None if each["value"] is None else _number(each, "value")) for each in pairs]


def _error(image: Mapping[str, Any]) -> Mapping[str, Any] | None:
    error = image.get("error")
    if error is not None and not isinstance(error, Mapping):
        raise _Wrong("the error of one of its images is no JSON object")
    return error


def _image(data: object) -> ImageResult:
    if not isinstance(data, Mapping):
        raise _Wrong("there is no JSON object")
    try:
        outcome = Outcome(data.get("outcome"))
    except ValueError:
        raise _Wrong("the outcome is none that this release knows") from None
    names = ("bytes_moved", "bytes_total", "blobs_moved", "blobs_mounted", "blobs_present", "tries")
    counts: dict[str, Any] = {name: _whole(data, name) for name in names if name in data}
    return ImageResult(
        source=_text(data, "source"),
        destination=_text(data, "destination"),
        outcome=outcome,
        reason=None if data.get("reason") is None else _text(data, "reason"),
        seconds=_number(data, "seconds") if "seconds" in data else 0,
        error=_error(data),
        differences=_differences(data.get("differences")),
        **counts,
    )


def _differences(data: object) -> tuple[Difference, ...] | None:
    if data is None:
        return None
    if not isinstance(data, list) or not all(isinstance(each, Mapping) for each in data):
        raise _Wrong("the differences are no list of JSON objects")
    return tuple(Difference(*(_text(each, name) for name in ("what", "where", "expected", "found"))) for each in data)


def _usage(data: object) -> dict[str, float]:
    if not isinstance(data, Mapping):
        raise _Wrong("its usage is no JSON object")
    return {str(name): _number(data, name) for name in data}


def _mirrors(data: object) -> dict[str, dict[str, int]]:
    if not isinstance(data, Mapping) or not all(isinstance(each, Mapping) for each in data.values()):
        raise _Wrong("its mirrors are no JSON objects")
    return {name: {key: _whole(each, key) for key in ("bytes", "failures")} for name, each in data.items()}


def _pruned(data: object) -> dict[str, int] | None:
    if data is None:
        return None
    deletions = data.get("deletions") if isinstance(data, Mapping) else None
    if not isinstance(deletions, list) or not all(isinstance(each, Mapping) for each in deletions):
        raise _Wrong("what it pruned is no list of JSON objects")
    return dict(Counter(_text(each, "outcome") for each in deletions))


def _unfinished(images: list[Any]) -> list[ImageResult]:
    found: list[ImageResult] = []
    for image in images:
        if not isinstance(image, Mapping):
            raise _Wrong("one of its images is no JSON object")
        outcome = _LEFT.get(str(image.get("outcome")))
        if outcome is None:
            continue
        reason, rule = image.get("reason"), image.get("rule")
        if rule is not None and not isinstance(rule, Mapping):
            raise _Wrong("the rule of one of its images is no JSON object")
        found.append(
            ImageResult(
                source=_text(image, "source"),
                destination=_text(image, "destination"),
                outcome=outcome,
                reason=None if reason is None else _text(image, "reason"),
                error=_error(image),
                rule=rule,
            )
        )
    return found


def _transfer(data: object, number: int) -> TransferRecord:
    try:
        return _parse_transfer(data)
    except _Wrong as wrong:
        raise _Wrong(f"in transfer {number}, {wrong}") from None


def _parse_transfer(data: object) -> TransferRecord:
    if not isinstance(data, Mapping):
        raise _Wrong("there is no JSON object")
    # Whoever reads a report of another release finds fields that he does not know, and misses some that have defaults.
    waits = {name: _number(data, name) for name in ("source_waited_s", "destination_waited_s") if name in data}
    record = TransferRecord(
        digest=_text(data, "digest"),
        size_bytes=_whole(data, "size_bytes", at_least=-1),
        source=intern(_text(data, "source")),
        destinations=tuple(map(intern, _texts(data, "destinations"))),
        worker=_whole(data, "worker"),
        began_s=_number(data, "began_s"),
        ended_s=_number(data, "ended_s"),
        bytes_moved=_whole(data, "bytes_moved"),
        outcomes=tuple(map(intern, _texts(data, "outcomes"))),
        pauses=_whole(data, "pauses") if "pauses" in data else 0,
        source_resumes=_whole(data, "source_resumes") if "source_resumes" in data else 0,
        destination_resumes=_whole(data, "destination_resumes") if "destination_resumes" in data else 0,
        **waits,
    )
    if record.ended_s < record.began_s:
        raise _Wrong("ended_s is before began_s")
    if not record.outcomes or len(record.outcomes) != len(record.destinations):
        raise _Wrong("there is not one outcome for each destination")
    if not set(record.outcomes) <= set(TRANSFER_OUTCOMES):
        raise _Wrong(f"outcomes are others than {', '.join(TRANSFER_OUTCOMES)}")
    return record


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _Wrong(f"{name} is no text")
    return value


def _texts(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = data.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _Wrong(f"{name} is no list of texts")
    return tuple(value)


def _whole(data: Mapping[str, Any], name: str, at_least: int = 0) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value < _MOST:
        raise _Wrong(f"{name} is no whole number from {at_least} on")
    return value


def _number(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise _Wrong(f"{name} is no number from 0 on")
    return float(value)
