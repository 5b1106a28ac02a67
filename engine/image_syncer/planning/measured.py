"""What was measured of a host, and of the path from one registry to another: what the simulation reckons with.

Processor time is told three times: what a piece of work takes of the coordinator, of a worker, and of the whole machine
(from /proc/stat). The last has what registries on the same machine and the kernel take too: where everything runs on
one machine, as in a benchmark, it is that which comes to its end first.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from msgspec import field

from image_syncer.values import Value

__all__ = ["Cost", "MeasuredPath", "PathLimits", "number_in", "text_in"]

FORMAT = 1
"""Of the file; one that is newer is refused."""
MOST = 1e15
"""Of any figure: a petabyte a second, thirty million years."""
LEAST_CORES, MOST_CORES = 0.01, 1e6
LEAST_BYTES_PER_S = 1.0
MOST_SPREAD = 3.0
"""Of the logarithm: a factor of fifty in nine of ten cases."""


class Cost(Value, frozen=True):
    """Processor seconds that one piece of work takes, and how long it takes beside them with nothing else under way
    (`latency_s`: round trips, and the registry's own thinking).
    """

    coordinator_s: float = 0.0
    worker_s: float = 0.0
    machine_s: float = 0.0
    latency_s: float = 0.0


class PathLimits(Value, frozen=True):
    """Bounds of a path in bytes a second; None: the processors were full before. `stream_bytes_per_s` is what one
    transfer got alone, `path_bytes_per_s` what all of them got together.
    """

    stream_bytes_per_s: float | None = None
    path_bytes_per_s: float | None = None


class MeasuredPath(Value, frozen=True):
    """One source, one destination, this host.

    `cores` is how many processors were really to be had. `start_s` is a run in which there is nothing to do, from its
    command to its end; `workers_start_s` is from the first blob that is wanted until a worker has it, and `workers`
    what starting all of them takes of the processors. `tag` is one tag that has not changed, `image` what an image
    takes beside that and beside its blobs (manifests read and put), `mount` a blob that is mounted or found to be
    there, `small` a blob of the short way without its bytes, `stream` a blob that is streamed without its bytes, and
    `byte` one byte of either. `further_destination` is the part of `byte` that each destination takes beyond the first,
    where one download serves several. `many_bytes_per_s` is what several streams got together, where there were some.

    `spread` is the relative standard deviation of the times of runs that were the same.
    """

    cores: float
    start_s: float
    workers_start_s: float
    tag: Cost
    image: Cost
    mount: Cost
    small: Cost
    stream: Cost
    byte: Cost
    workers: Cost = Cost()
    limits: PathLimits = PathLimits()
    further_destination: float = 0.5
    coordinator_memory_bytes: int = 0
    worker_memory_bytes: int = 0
    many_bytes_per_s: float | None = None
    spread: float = 0.05
    source: str = ""
    destination: str = ""
    measured_at: str = ""
    host: dict[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """The figures as plain data for a file."""
        return {"kind": "bench", "format": FORMAT, **asdict(self)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> MeasuredPath:
        """What `as_data` described. Raises ValueError with a sentence for people where it is something else."""
        if data.get("kind") != "bench":
            raise ValueError("it is no file of image-syncer bench")
        if data.get("format") != FORMAT:
            raise ValueError(f"its format is {data.get('format')!r}, and this release reads {FORMAT}")
        where = "path"
        limits, host = _object_in(data, "limits"), data.get("host", {})
        if not isinstance(host, dict):
            raise ValueError("host: it is no object")
        values: dict[str, Any] = {name: _cost_in(data, name) for name in _COSTS}
        values["workers"] = _cost_in(data, "workers") if "workers" in data else Cost()
        for name in ("start_s", "workers_start_s"):
            values[name] = number_in(data, name, where)
        for name in ("source", "destination", "measured_at"):
            values[name] = text_in(data, name) if name in data else ""
        for name in ("coordinator_memory_bytes", "worker_memory_bytes"):
            values[name] = int(number_in(data, name, where)) if name in data else 0
        for name, most in (("further_destination", MOST), ("spread", MOST_SPREAD), ("many_bytes_per_s", MOST)):
            if data.get(name) is not None:
                values[name] = number_in(data, name, where, at_most=most)
        cores = number_in(data, "cores", where, at_least=LEAST_CORES, at_most=MOST_CORES)
        bounds = {
            one.name: number_in(limits, one.name, "limits", at_least=LEAST_BYTES_PER_S)
            for one in fields(PathLimits)
            if limits.get(one.name) is not None
        }
        return cls(cores=cores, limits=PathLimits(**bounds), host=host, **values)


_COSTS = ("tag", "image", "mount", "small", "stream", "byte")


def number_in(data: dict[str, Any], key: str, where: str, *, at_least: float = 0.0, at_most: float = MOST) -> float:
    """The number that a file has under `key`. Raises ValueError with the key where there is none that makes sense."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not at_least <= value <= at_most:
        shown = "missing" if value is None else f"{str(value)[:40]!r}"
        raise ValueError(f"{where}.{key}: {shown} is no number from {at_least:g} to {at_most:g}")
    return float(value)


def text_in(data: dict[str, Any], key: str) -> str:
    """The text that a file has under `key`. Raises ValueError with the key where there is none."""
    value = data.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key}: it is no text")
    return value


def _object_in(data: dict[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name}: it is {'no object' if name in data else 'missing'}")
    return found


def _cost_in(data: dict[str, Any], name: str) -> Cost:
    found = _object_in(data, name)
    return Cost(**{one.name: number_in(found, one.name, name) for one in fields(Cost)})
