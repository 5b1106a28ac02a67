"""The figures that were measured of a host and of a path between registries, which the simulation uses.

Processor time is measured three times: of the coordinator, of the workers, and of the whole machine (/proc/stat). The
last includes registries on the same machine and the kernel: in a benchmark on one machine it is the first to be used
up.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from msgspec import field

from image_syncer.values import Value

FORMAT = 1
"""The format of a path in the file; a newer one is refused."""
MOST = 1e15
"""The largest figure: a petabyte per second, thirty million years."""
LEAST_CORES, MOST_CORES = 0.01, 1e6
LEAST_BYTES_PER_S = 1.0
MOST_SPREAD = 3.0
"""Of the logarithm: a factor of fifty in nine of ten cases."""
KINDS = ("tag", "image", "mount", "small", "stream", "byte", "workers")
"""The kinds of work, each a `Cost` of `MeasuredPath`."""


class Cost(Value, frozen=True):
    """The processor seconds of one piece of work, and the time it takes beside them with nothing else under way
    (`latency_s`: round trips, and the work of the registry).
    """

    coordinator_s: float = 0.0
    worker_s: float = 0.0
    machine_s: float = 0.0
    latency_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the run's own processes."""
        return self.coordinator_s + self.worker_s

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.coordinator_s + other.coordinator_s,
            self.worker_s + other.worker_s,
            self.machine_s + other.machine_s,
            self.latency_s + other.latency_s,
        )

    def __mul__(self, by: float) -> Cost:
        return Cost(self.coordinator_s * by, self.worker_s * by, self.machine_s * by, self.latency_s * by)


class PathLimits(Value, frozen=True):
    """The bandwidth of a path in bytes per second, for one stream alone and for all together; None: the processors were
    busy before.
    """

    stream_bytes_per_s: float | None = None
    path_bytes_per_s: float | None = None


class MeasuredPath(Value, frozen=True):
    """One source, one destination, this host, with `cores` processors that were really available.

    `start_s` is a run without work, from its command to its end; `workers_start_s` is from the first wanted blob until
    a worker has it, and `workers` the cost of starting all of them. Other costs: `tag` is one unchanged tag, `image` an
    image beside its tag and its blobs (manifests read and put), `mount` a blob that is mounted or present, `small` and
    `stream` a small and a streamed blob without their bytes, and `byte` one byte of either. `further_destination` is
    the part of `byte` for each destination beyond the first, where one download serves several. `many_bytes_per_s` is
    the rate of several streams together, where there were some. `spread` is the relative standard deviation of the
    times of equal runs.
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

    def copies(self, destinations: int) -> float:
        """The cost of one byte that goes to `destinations`, as a multiple of `byte`."""
        return 1 + self.further_destination * (destinations - 1)

    def as_data(self) -> dict[str, Any]:
        """The figures as plain data for a file."""
        return {"kind": "bench", "format": FORMAT, **asdict(self)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> MeasuredPath:
        """What `as_data` wrote. Raises ValueError with a sentence for people where it is something else."""
        if data.get("kind") != "bench":
            raise ValueError("it is no file of image-syncer bench")
        if data.get("format") != FORMAT:
            raise ValueError(f"its format is {data.get('format')!r}, and this release reads {FORMAT}")
        where, limits = "path", object_in(data, "limits")
        values: dict[str, Any] = {
            name: _cost_in(data, name) for name in KINDS if name != "workers" or "workers" in data
        }
        values["host"] = object_in(data, "host") if "host" in data else {}
        values |= {name: number_in(data, name, where) for name in ("start_s", "workers_start_s")}
        values |= {name: text_in(data, name) for name in ("source", "destination", "measured_at") if name in data}
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
        return cls(cores=cores, limits=PathLimits(**bounds), **values)


def number_in(data: dict[str, Any], key: str, where: str, *, at_least: float = 0.0, at_most: float = MOST) -> float:
    """The number under `key`. Raises ValueError with the key where there is none within the limits."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not at_least <= value <= at_most:
        shown = "missing" if value is None else f"{str(value)[:40]!r}"
        raise ValueError(f"{where}.{key}: {shown} is no number from {at_least:g} to {at_most:g}")
    return float(value)


def text_in(data: dict[str, Any], key: str) -> str:
    """The text under `key`. Raises ValueError with the key where there is none."""
    value = data.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key}: it is no text")
    return value


def object_in(data: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under `name`. Raises ValueError with the name where there is none."""
    found = data.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name}: it is {'no object' if name in data else 'missing'}")
    return found


def _cost_in(data: dict[str, Any], name: str) -> Cost:
    found = object_in(data, name)
    return Cost(**{one.name: number_in(found, one.name, name) for one in fields(Cost)})
