"""From a measured run to the figures that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf.measure import Measurement
    from perf.task import Wanted

__all__ = ["FIGURES", "Figure", "derive"]

GB = 1e9


@dataclass(frozen=True)
class Figure:
    """A figure's heading in tables, how it is printed, and what it is."""

    heading: str
    form: str
    meaning: str


FIGURES = {
    "wall_s": Figure("wall s", ".3f", "from the start of the command to its end, start-up included"),
    "bytes_per_s": Figure("MB/s", ".0f", "bytes of distinct blobs, at each destination, a second of wall time"),
    "cpu_s": Figure("CPU s", ".2f", "user and system time of all processes of the command"),
    "cpu_s_per_gb": Figure("CPU s/GB", ".2f", "CPU seconds for 10⁹ bytes of distinct blobs, at each destination"),
    "blobs_per_cpu_s": Figure("blobs/CPU s", ".0f", "blob copies (layers and configs of all images) a CPU second"),
    "cpu_us_per_tag": Figure("CPU µs/tag", ".0f", "CPU microseconds a tag and destination"),
    "peak_bytes": Figure("MiB largest", ".0f", "peak memory (VmHWM) of the largest process"),
    "coordinator_bytes": Figure("MiB coord.", ".0f", "the same of image-syncer's coordinator"),
    "worker_bytes": Figure("MiB worker", ".0f", "the same of image-syncer's largest worker"),
    "requests": Figure("requests", ".0f", "as the tool's report counts them, else as the destinations do (marked *)"),
    "refused": Figure("429s", ".0f", "requests that the destination answered with 429"),
    "switches_per_gb": Figure("switches/GB", ".0f", "context switches of all processes for 10⁹ bytes"),
    "switches": Figure("switches", ".0f", "context switches of all processes"),
    "source_waited": Figure(
        "ring full", ".0%", "share of all transfers' time in which the source stood, because the destination is slower"
    ),
    "destination_waited": Figure(
        "ring empty", ".0%", "the share in which uploads had nothing to send, because the source is slower"
    ),
}


def derive(measured: Measurement, wanted: Wanted, destinations: int, *, moves: bool) -> dict[str, float]:
    """The figures of one run; those that cannot be said are left out. `moves` is false where nothing has changed."""
    figures = {
        "wall_s": measured.wall_s,
        "cpu_s": measured.cpu_s,
        "switches": float(measured.switches),
        "requests": float(sum(measured.requests.values()) or count_requests(measured.arrived)),
    }
    if wanted.images:
        figures["cpu_us_per_tag"] = measured.cpu_s / (wanted.images * destinations) * 1e6
    if "refused 429" in measured.arrived:
        figures["refused"] = float(measured.arrived["refused 429"])
    if moves:
        moved = wanted.distinct_bytes * destinations
        figures |= {
            "bytes_per_s": moved / measured.wall_s,
            "cpu_s_per_gb": measured.cpu_s / (moved / GB),
            "blobs_per_cpu_s": wanted.blob_copies * destinations / max(measured.cpu_s, 1e-3),
            "switches_per_gb": measured.switches / (moved / GB),
        }
    peaks = measured.peaks
    if peaks:
        figures["peak_bytes"] = float(max(peaks.values()))
    for role in ("coordinator", "worker"):
        if role in peaks:
            figures[f"{role}_bytes"] = float(peaks[role])
    whole = measured.waits.get("transfers_s", 0.0)
    if whole > 0:
        figures["source_waited"] = measured.waits["source_waited_s"] / whole
        figures["destination_waited"] = measured.waits["destination_waited_s"] / whole
    return figures


def count_requests(arrived: dict[str, int]) -> int:
    """The requests among the counts of a sink: their kinds begin with a method; GETs of its own counts do not count."""
    return sum(count for kind, count in arrived.items() if kind.split(" ", 1)[0].isupper())
