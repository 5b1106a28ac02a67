"""The benchmark file: the measured paths of a host, the limits of the host, and the registries of a path.

Files of format 1, written by an older release, name no format: they have paths, and perhaps the best settings.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import orjson

from image_syncer.bench.measuring import Setting
from image_syncer.bench.sides import PathSide
from image_syncer.capacity.measured import MeasuredPath, number_in, object_in
from image_syncer.errors import ConfigurationError
from image_syncer.reporting.json_file import read_json
from image_syncer.telemetry import PartialFile
from image_syncer.values import Value

FORMAT = 2
"""The format of the file; a newer one is refused."""
_HINT = "Give the file that bench --save wrote."
_TLS = "tls_bytes_per_s"


class HostRate(Value, frozen=True):
    """A rate per second with one core (one worker), with all cores (as many workers), and per second of processor time
    of the processes of image-syncer.
    """

    core: float
    all: float
    cpu: float


class HostLimits(Value, frozen=True):
    """What a host can do at most: bytes per second, and `requests_per_s`. `pipe` is from registry to registry by plain
    HTTP, hashed on the way; `tls` the same with TLS on both sides, None without a certificate.

    All but the hashes are measured between registries on the same host, which use its processors too. Where registries
    are elsewhere, `HostRate.cpu` is what limits a core.
    """

    cpus: int
    sha256_bytes_per_s: HostRate
    sha512_bytes_per_s: HostRate
    pipe_bytes_per_s: HostRate
    tls_bytes_per_s: HostRate | None
    requests_per_s: HostRate

    def as_data(self) -> dict[str, Any]:
        """The limits as plain data for a file."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Any) -> HostLimits:
        """What `as_data` wrote. Raises ValueError with a sentence for people where it is something else."""
        if not isinstance(data, dict):
            raise ValueError("limits: it is no object")
        names = [one.name for one in fields(cls) if one.name not in ("cpus", _TLS)]
        rates: dict[str, Any] = {name: _rate_from(data.get(name), name) for name in names}
        tls = None if data.get(_TLS) is None else _rate_from(data[_TLS], _TLS)
        return cls(cpus=int(number_in(data, "cpus", "limits", at_least=1)), **rates, tls_bytes_per_s=tls)


def _rate_from(data: Any, name: str) -> HostRate:
    if not isinstance(data, dict):
        raise ValueError(f"limits.{name}: it is no object")
    return HostRate(*(number_in(data, each, f"limits.{name}") for each in ("core", "all", "cpu")))


class BenchFile(Value, frozen=True):
    """`paths` by their sources; `best` are the settings beyond which more does not pay, where they were tried; `limits`
    those of the host, where it was measured alone, and `sides` the registries of a path.
    """

    paths: tuple[MeasuredPath, ...]
    best: Setting | None = None
    limits: HostLimits | None = None
    sides: tuple[PathSide, ...] = ()

    def path_of(self, source: str, destination: str) -> MeasuredPath:  # noqa: ARG002 - one path for all of a source's
        """What was measured from `source`; where that was not measured, the first path."""
        return next((path for path in self.paths if path.source == source), self.paths[0])


def save_bench(found: BenchFile, path: str) -> None:
    """Write the file. Raises ConfigurationError or SyncError where it cannot be written."""
    data: dict[str, Any] = {"kind": "benches", "format": FORMAT, "paths": [one.as_data() for one in found.paths]}
    if found.best is not None:
        data["best"] = asdict(found.best)
    if found.limits is not None:
        data["limits"] = found.limits.as_data()
    if found.sides:
        data["sides"] = [one.as_data() for one in found.sides]
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n"
    PartialFile.write_all(path, text, noun="the bench", option="--save")


def load_bench(path: str) -> BenchFile:
    """Read the file. Raises ConfigurationError where it is something else."""
    data = read_json(path, "the bench", _HINT)
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
    paths, limits = _each(data, "paths", MeasuredPath.from_data), data.get("limits")
    if not paths:
        raise ValueError("paths: there are none")
    return BenchFile(
        paths,
        None if data.get("best") is None else _setting(object_in(data, "best")),
        None if limits is None else HostLimits.from_data(limits),
        _each(data, "sides", PathSide.from_data),
    )


def _each(data: dict[str, Any], name: str, read: Any) -> tuple[Any, ...]:
    """The objects of a list, as `read` makes them. Raises ValueError with the place of what is wrong."""
    found = data.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{name}: it is no list of objects")
    values = []
    for number, one in enumerate(found):
        where = f"{name}[{number}]"
        try:
            values.append(read(one))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return tuple(values)


def _setting(data: dict[str, Any]) -> Setting:
    return Setting(**{one.name: int(number_in(data, one.name, "best", at_least=1)) for one in fields(Setting)})
