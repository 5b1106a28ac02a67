"""What was measured of a host, and of the path from one registry to another: what the simulation reckons with.

Processor time is told three times: what a piece of work takes of the coordinator, of a worker, and of the whole machine
(from /proc/stat). The last has what registries on the same machine and the kernel take too: where everything runs on
one machine, as in a benchmark, it is that which comes to its end first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["Cost", "MeasuredPath", "PathLimits"]

FORMAT = 1
"""Of the file; one that is newer is refused."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds that one piece of work takes, and how long it takes beside them with nothing else under way
    (`latency_s`: round trips, and the registry's own thinking).
    """

    coordinator_s: float = 0.0
    worker_s: float = 0.0
    machine_s: float = 0.0
    latency_s: float = 0.0


@dataclass(frozen=True)
class PathLimits:
    """Bounds of a path in bytes a second; None: the processors were full before. `stream_bytes_per_s` is what one
    transfer got alone, `path_bytes_per_s` what all of them got together.
    """

    stream_bytes_per_s: float | None = None
    path_bytes_per_s: float | None = None


@dataclass(frozen=True)
class MeasuredPath:
    """One source, one destination, this host.

    `cores` is how many processors were really to be had. `start_s` is a run in which there is nothing to do, from its
    command to its end; `workers_start_s` is from the first blob that is wanted until a worker has it, and `workers`
    what starting all of them takes of the processors. `tag` is one tag that has not changed, `image` what an image
    takes beside that and beside its blobs (manifests read and put), `mount` a blob that is mounted or found to be
    there, `small` a blob of the short way without its bytes, `stream` a blob that is streamed without its bytes, and
    `byte` one byte of either. `further_destination` is the part of `byte` that each destination takes beyond the first,
    where one download serves several.

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
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        try:
            for name in ("tag", "image", "mount", "small", "stream", "byte", "workers"):
                values[name] = Cost(**values[name])
            values["limits"] = PathLimits(**values["limits"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a figure is missing, or is none: {error}") from error
