"""The file of a bench: the measured paths of a host, to be kept with it.

Of format 1 are those that an older release wrote, which said no format: they have paths, and perhaps the best settings.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from image_syncer.bench.host_limits import HostLimits
from image_syncer.bench.sides import PathSide
from image_syncer.bench.sweep import Setting
from image_syncer.errors import ConfigurationError
from image_syncer.planning.measured import MeasuredPath, number_in
from image_syncer.telemetry import PartialFile
from image_syncer.values import Value

__all__ = ["BenchFile", "load_bench", "save_bench"]

FORMAT = 2
"""Of the file; one that is newer is refused."""
_HINT = "Give the file that bench --save wrote."


class BenchFile(Value, frozen=True):
    """`paths` by their sources; `best` are the settings beyond which more does not pay, where they were looked for;
    `limits` those of the host, where it was measured alone, and `sides` the registries of a path.
    """

    paths: tuple[MeasuredPath, ...]
    best: Setting | None = None
    limits: HostLimits | None = None
    sides: tuple[PathSide, ...] = ()

    def path_of(self, source: str, destination: str) -> MeasuredPath:  # noqa: ARG002 - one path for all of a source's
        """What was measured from `source`; where that was not, what was measured first."""
        return next((path for path in self.paths if path.source == source), self.paths[0])


def save_bench(found: BenchFile, path: str) -> None:
    """Write the file. Raises ConfigurationError or SyncError where it cannot be written."""
    data: dict[str, Any] = {"kind": "benches", "format": FORMAT, "paths": [one.as_data() for one in found.paths]}
    if found.best is not None:
        data["best"] = found.best.as_data()
    if found.limits is not None:
        data["limits"] = found.limits.as_data()
    if found.sides:
        data["sides"] = [one.as_data() for one in found.sides]
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n"
    PartialFile.write_all(path, text, noun="the bench", option="--save")


def load_bench(path: str) -> BenchFile:
    """Read the file. Raises ConfigurationError where it is something else."""
    try:
        raw = Path(path).read_bytes()
        data = orjson.loads(raw)
    except OSError as error:
        raise ConfigurationError(f"the bench {path} cannot be read: {error.strerror}", hint=_HINT) from None
    except orjson.JSONDecodeError as error:
        what = "is empty" if not raw.strip() else f"is not JSON: {error.msg} (line {error.lineno})"
        raise ConfigurationError(f"the bench {path} {what}", hint=_HINT) from None
    try:
        return _parse(data)
    except ValueError as error:
        raise ConfigurationError(f"{path} is not a benchmark file of image-syncer: {error}", hint=_HINT) from None


def _parse(data: Any) -> BenchFile:
    if not isinstance(data, dict) or data.get("kind") != "benches":
        raise ValueError("its kind is not “benches”")
    written_as = data.get("format", 1)
    if written_as not in range(1, FORMAT + 1) or isinstance(written_as, bool):
        raise ValueError(f"its format is {str(written_as)[:40]!r}, and this release reads 1 to {FORMAT}")
    paths = _objects(data, "paths")
    if not paths:
        raise ValueError("paths: there are none")
    limits, best, sides = data.get("limits"), data.get("best"), _objects(data, "sides")
    return BenchFile(
        tuple(_named(f"paths[{number}]", MeasuredPath.from_data, one) for number, one in enumerate(paths)),
        None if best is None else _setting(best),
        None if limits is None else HostLimits.from_data(limits),
        tuple(_named(f"sides[{number}]", PathSide.from_data, one) for number, one in enumerate(sides)),
    )


def _objects(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = data.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{name}: it is no list of objects")
    return found


def _named(place: str, read: Any, data: dict[str, Any]) -> Any:
    try:
        return read(data)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _setting(data: Any) -> Setting:
    if not isinstance(data, dict):
        raise ValueError("best: it is no object")
    return Setting(**{one.name: int(number_in(data, one.name, "best", at_least=1)) for one in fields(Setting)})
