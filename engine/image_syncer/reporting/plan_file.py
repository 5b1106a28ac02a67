"""The plan file: what a sync would do, image by image and blob by blob, written by `plan --save` and read back.

It is one JSON object with one image a line. A blob is written as `["sha256:…", size]` the first time, and as a number
after that: its place among the blobs before, counted from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec import field

from image_syncer.errors import ConfigurationError
from image_syncer.oci import Digest, InvalidReference, parse_reference
from image_syncer.reporting.json_file import is_number, is_whole, read_json
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report


FORMAT = 1
"""The format of the file; a newer one is refused."""
_HINT = "Give the file that plan --save wrote."
_BLOB_PARTS = 2
_FACTS = (
    "source",
    "destination",
    "reason",
    "source_digest",
    "destination_digest",
    "replaced_digest",
    "referrer_of",
    "rule",
)


class PlannedBlob(Value, frozen=True):
    """A blob that images name. `size` in bytes, -1 where it is not known."""

    digest: str
    size: int


class ImageShape(Value, frozen=True):
    """The parts of an image: its manifests (an index and its children), its blobs, and those of them that its
    destination has already.
    """

    manifests: int
    blobs: tuple[PlannedBlob, ...]
    present: frozenset[str] = frozenset()


class PlannedImage(Value, frozen=True):
    """One image and one destination. `blobs` and `present` are places in `PlanFile.blobs`; none where nothing would be
    copied. `digest` is what would be pushed, `replaced_digest` what the tag points at now, `referrer_of` the manifest
    to which it belongs.
    """

    source: str
    destination: str
    outcome: Outcome
    reason: str | None = None
    source_digest: str | None = None
    digest: str | None = None
    replaced_digest: str | None = None
    referrer_of: str | None = None
    rule: Mapping[str, Any] | None = None
    manifests: int = 0
    blobs: tuple[int, ...] = ()
    present: frozenset[int] = frozenset()


class PlanFile(Value, frozen=True):
    """A plan, the `settings` with which it was made, and the requests that it took, by kind; a sync does not need
    `surveyed` of them (HEAD of blobs). `started_at` is ISO 8601 in UTC.
    """

    images: tuple[PlannedImage, ...]
    blobs: tuple[PlannedBlob, ...]
    started_at: str
    seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    surveyed: int = 0

    @property
    def planned(self) -> tuple[PlannedImage, ...]:
        """The images that would be copied."""
        return tuple(image for image in self.images if image.outcome is Outcome.PLANNED)


class PlanWriter:
    """Streams a plan into `FILE.partial`, which becomes `FILE` at its end. Raises what `PartialFile` raises."""

    def __init__(self, path: str) -> None:
        self._file = PartialFile(path, noun="the plan", option="--save")
        self._file.write(f'{{"kind": "plan", "format": {FORMAT}, "images": [\n'.encode())
        self._separator = b""
        self._places: dict[str, int] = {}
        self._shapes: dict[tuple[str, str], ImageShape] = {}
        self.surveyed = 0
        """Requests for the plan alone."""

    def note_shape(self, source: str, destination: str, shape: ImageShape) -> None:
        """Note the parts of an image whose result is to come."""
        self._shapes[source, destination] = shape

    def add(self, result: ImageResult) -> None:
        """Write one image. The planning continues where that fails."""
        shape = self._shapes.pop((result.source, result.destination), None)
        data: dict[str, Any] = {"outcome": result.outcome.value}
        data.update({name: value for name in _FACTS if (value := getattr(result, name)) is not None})
        if shape is not None:
            data["manifests"] = shape.manifests
            data["blobs"] = [self._place(blob) for blob in shape.blobs]
            data["present"] = sorted(self._places[digest] for digest in shape.present)
        self._file.write(self._separator + orjson.dumps(data, default=str))
        self._separator = b",\n"

    def _place(self, blob: PlannedBlob) -> int | list[Any]:
        place = self._places.get(blob.digest)
        if place is not None:
            return place
        self._places[blob.digest] = len(self._places)
        return [blob.digest, blob.size]

    def close(self, report: Report) -> None:
        """Write everything else, and give the file its name. Raises SyncError, and leaves no file, where that fails."""
        rest = {
            "started_at": report.started_at,
            "seconds": round(report.seconds, 3),
            "settings": dict(report.settings),
            "requests": dict(sorted(report.totals.requests.items())),
            "surveyed": self.surveyed,
        }
        text = orjson.dumps(rest, default=str, option=orjson.OPT_INDENT_2)
        self._file.write(b"\n],\n" + text.removeprefix(b"{\n") + b"\n")
        self._file.commit()

    def abandon(self) -> None:
        """Leave no file."""
        self._file.abandon()


def load_plan(path: str) -> PlanFile:
    """Read what `PlanWriter` wrote. Raises `ConfigurationError` where the file is something else, or cut off."""
    data = read_json(path, "the plan", _HINT)
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is no plan of image-syncer: {_words(error)}", hint=_HINT) from None


def _words(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _parse(data: Any) -> PlanFile:
    if not isinstance(data, dict) or data.get("kind") != "plan":
        raise ValueError("its kind is not “plan”")
    written_as = data.get("format")
    if type(written_as) is not int or written_as != FORMAT:
        raise ValueError(f"its format is {written_as!r}, and this release reads {FORMAT}")
    found, settings, requests, seconds = (data[name] for name in ("images", "settings", "requests", "seconds"))
    for name, value, kind in (("images", found, list), ("settings", settings, dict), ("requests", requests, dict)):
        if not isinstance(value, kind):
            raise ValueError(f"{name}: it is no {'list' if kind is list else 'object'}")
    if not is_number(seconds):
        raise ValueError(f"seconds: {seconds!r} is no number from 0 on")
    blobs = _Blobs()
    images = tuple(_image(one, blobs, number) for number, one in enumerate(found, 1))
    return PlanFile(
        images,
        tuple(blobs.known),
        _text(data["started_at"]),
        float(seconds),
        settings,
        {kind: _whole(count) for kind, count in requests.items()},
        _whole(data["surveyed"]),
    )


class _Blobs:
    """The blobs in the order in which they were written out, each with one size."""

    def __init__(self) -> None:
        self.known: list[PlannedBlob] = []
        self._sizes: dict[str, int] = {}

    def take(self, value: Any) -> int:
        """The place of a blob that is written out, or of one that was before."""
        if not isinstance(value, list):
            return _place(value, self.known)
        if len(value) != _BLOB_PARTS:
            raise ValueError(f"{value!r} is no digest with its size")
        digest, size = str(Digest(_text(value[0]))), _whole(value[1], at_least=-1)
        if self._sizes.setdefault(digest, size) != size:
            raise ValueError(f"{digest} has two sizes, {self._sizes[digest]} and {size}")
        self.known.append(PlannedBlob(digest, size))
        return len(self.known) - 1


def _image(data: Any, blobs: _Blobs, number: int) -> PlannedImage:
    if not isinstance(data, dict):
        raise ValueError(f"image {number} is no object")
    try:
        outcome = Outcome(data["outcome"])
        places = [blobs.take(one) for one in data.get("blobs", ())]
        source, destination = _text(data["source"]), _text(data["destination"])
        if outcome in (Outcome.PLANNED, Outcome.UNCHANGED):
            parse_reference(source)
            parse_reference(destination)
        return PlannedImage(
            source=source,
            destination=destination,
            outcome=outcome,
            reason=_maybe_text(data, "reason"),
            source_digest=_maybe_digest(data, "source_digest"),
            digest=_maybe_digest(data, "destination_digest"),
            replaced_digest=_maybe_digest(data, "replaced_digest"),
            referrer_of=_maybe_text(data, "referrer_of"),
            rule=_maybe_rule(data.get("rule")),
            manifests=_whole(data.get("manifests", 0)),
            blobs=tuple(places),
            present=frozenset(_place(one, blobs.known) for one in data.get("present", ())),
        )
    except (KeyError, TypeError, ValueError, InvalidReference) as error:
        raise ValueError(f"in image {number}, {_words(error)}") from None


def _maybe_text(data: dict[str, Any], name: str) -> str | None:
    value = data.get(name)
    return None if value is None else _text(value)


def _maybe_digest(data: dict[str, Any], name: str) -> str | None:
    text = _maybe_text(data, name)
    return None if text is None else str(Digest(text))


def _maybe_rule(value: Any) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{value!r} is no rule")
    return value


def _place(value: Any, blobs: list[PlannedBlob]) -> int:
    if not is_whole(value) or value >= len(blobs):
        raise ValueError(f"{value!r} is no place of a blob")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _whole(value: Any, at_least: int = 0) -> int:
    if not is_whole(value, at_least):
        raise ValueError(f"{value!r} is no whole number from {at_least} on")
    return value
