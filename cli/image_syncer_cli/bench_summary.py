"""What a bench found, in words: tables of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer_cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer import BenchFile, HostLimits, HostRate, MeasuredPath, PathSide

__all__ = ["summarize_bench"]

GIGABYTE = 1e9
_LABEL = 16


def summarize_bench(found: BenchFile) -> Iterator[str]:
    """The lines: the host where it was measured alone, each path, each side of it."""
    if found.best is not None:
        yield f"best: {' '.join(found.best.words)}"
    if found.limits is not None:
        yield from _host_lines(found.limits)
    for path in found.paths:
        yield from _path_lines(path)
    for side in found.sides:
        yield from _side_lines(side)


def _host_lines(limits: HostLimits) -> Iterator[str]:
    from image_syncer.units import format_rate

    def requests(rate: float) -> str:
        return f"{rate:,.0f}/s"

    rows: tuple[tuple[str, HostRate | None, bool], ...] = (
        ("SHA-256", limits.sha256_bytes_per_s, True),
        ("SHA-512", limits.sha512_bytes_per_s, True),
        ("pipe, plain HTTP", limits.pipe_bytes_per_s, True),
        ("pipe, TLS", limits.tls_bytes_per_s, True),
        ("small requests", limits.requests_per_s, False),
    )
    cores = "1 core" if limits.cpus == 1 else f"all {limits.cpus} cores"
    yield f"{'this host, at most':<20}{'a core':>14}{cores:>16}{'for a second of our CPU':>26}"
    for label, rate, in_bytes in rows:
        if rate is None:
            continue
        shown = [format_rate(one) if in_bytes else requests(one) for one in (rate.core, rate.all, rate.cpu)]
        yield f"  {label:<18}{shown[0]:>14}{shown[1]:>16}{shown[2]:>26}"


def _path_lines(path: MeasuredPath) -> Iterator[str]:
    from image_syncer.units import format_rate, format_size

    def micros(seconds: float) -> str:
        return f"{seconds * 1e6:,.0f} µs"

    tag, small, byte = path.tag, path.small, path.byte
    workers = f"{byte.worker_s * GIGABYTE:.2f} s of a worker, {byte.machine_s * GIGABYTE:.2f} s of the machine"
    memory = f"{format_size(path.coordinator_memory_bytes)}, and {format_size(path.worker_memory_bytes)} a worker"
    rows = [
        ("start of a run", f"{path.start_s:.2f} s, workers {path.workers_start_s:.2f} s more"),
        ("a tag", f"{micros(tag.coordinator_s)} of processor time, {tag.latency_s * 1e3:.1f} ms away"),
        ("an image", f"{micros(path.image.coordinator_s)} beside its blobs"),
        ("a small blob", f"{micros(small.worker_s + small.coordinator_s)}, {small.latency_s * 1e3:.1f} ms away"),
        ("a gigabyte", workers),
        ("processors", f"{path.cores:.1f} to be had, {format_rate(path.host['sha256_bytes_per_s'])} of SHA-256 each"),
        ("memory", memory),
    ]
    if path.limits.stream_bytes_per_s is not None:
        rows.append(("one stream", format_rate(path.limits.stream_bytes_per_s)))
    if path.many_bytes_per_s is not None:
        rows.append(("many streams", f"{format_rate(path.many_bytes_per_s)} together"))
    if path.limits.path_bytes_per_s is not None:
        rows.append(("the path", f"{format_rate(path.limits.path_bytes_per_s)} at most"))
    yield f"from {printable(path.source)}"
    yield from (f"  {label:<{_LABEL}}{text}" for label, text in rows)


def _side_lines(side: PathSide) -> Iterator[str]:
    yield f"{printable(side.registry)} as {side.side}"
    rows = []
    if side.first_s is not None and side.latency_s is not None:
        first = f"the first answer after {side.first_s * 1e3:,.1f} ms"
        rows.append(("away", f"{side.latency_s * 1e3:,.1f} ms; {first}"))
    if side.request_s:
        told = ", ".join(f"{name} {seconds * 1e3:,.1f} ms" for name, seconds in side.request_s.items())
        rows.append(("a request", told))
    if side.requests_per_s is not None:
        rows.append(("requests", f"{side.requests_per_s:,.0f} a second, 16 at a time"))
    rows.append(("limits", printable(", ".join(_limits_of(side)) or "none met")))
    if side.trouble is not None:
        rows.append(("trouble", printable(side.trouble)))
    yield from (f"  {label:<{_LABEL}}{text}" for label, text in rows)


def _limits_of(side: PathSide) -> Iterator[str]:
    from image_syncer.units import format_duration

    if side.allowance is not None:
        yield f"it allows {side.allowance}"
    if side.refused:
        yield f"it refused {side.refused:,} (429)"
    if side.left_alone_s:
        yield f"was left alone for {format_duration(side.left_alone_s)}"
    if side.paced_per_s is not None:
        yield f"took {side.paced_per_s:.3g} requests a second"
    if side.connections is not None:
        yield f"took {side.connections:,} connections"
