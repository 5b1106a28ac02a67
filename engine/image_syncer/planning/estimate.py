"""Estimates: how long a workload takes, with what settings, and what would change it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from image_syncer.planning.forecast import Forecast, Host
from image_syncer.planning.resources import Machine, decide_resources
from image_syncer.planning.simulation import simulate
from image_syncer.units import parse_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.config import Settings
    from image_syncer.planning.measured import MeasuredPath
    from image_syncer.planning.resources import Resources
    from image_syncer.planning.workload import Workload

__all__ = ["Estimate", "Question", "WhatIf", "best_settings", "estimate", "parse_host", "what_if"]

ONE_IN_TEN = 1.2816
"""Standard deviations of a normal distribution above which one in ten lies."""
MODEL_SPREAD = 0.10
"""Of the logarithm: what the model itself is wrong by, as `docs/capacity.md` has it."""
ENOUGH = 1.03
"""Settings that take so much longer than the best are as good; the fewest workers and streams of those are taken."""
STREAMS = (4, 16, 64)
_HOST = re.compile(r"(?:(?P<cores>[0-9]+) *cores?)?[ ,;]*(?P<link>[0-9].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """What is to be estimated: a workload over measured paths, on a host, with settings."""

    workload: Workload
    path_of: Callable[[str, str], MeasuredPath]
    settings: Settings
    host: Host
    spread: float = 0.05

    @property
    def resources(self) -> Resources:
        """What a run on that host would use."""
        return decide_resources(self.settings, Machine(cpus=max(1, round(self.host.cores))))

    def forecast(self) -> Forecast:
        """The run in virtual time. Raises ValueError where nothing bounds it."""
        return simulate(self.workload, self.path_of, self.resources, self.host)


@dataclass(frozen=True)
class Estimate:
    """`seconds` is as likely to be too long as too short; one run in ten takes longer than `p90_s`."""

    forecast: Forecast
    seconds: float
    p90_s: float
    workers: int
    streams: int


@dataclass(frozen=True)
class WhatIf:
    """How long it takes with one thing changed."""

    change: str
    seconds: float


def estimate(question: Question) -> Estimate:
    """The estimate for a question. Raises ValueError where nothing bounds the run."""
    done = question.forecast()
    resources = question.resources
    spread = math.hypot(question.spread, MODEL_SPREAD)
    p90_s = done.seconds * math.exp(ONE_IN_TEN * spread)
    return Estimate(done, done.seconds, p90_s, resources.workers, resources.streams)


def best_settings(question: Question) -> Settings:
    """Workers and streams beyond which more does not pay."""
    took: dict[tuple[int, int], float] = {}
    workers = 1
    most = max(1, 2 * round(question.host.cores))
    while workers <= most:
        for streams in STREAMS:
            tried = replace(question.settings, workers=workers, streams=streams)
            took[workers, streams] = replace(question, settings=tried).forecast().seconds
        workers *= 2
    least = min(took.values())
    workers, streams = min(one for one, seconds in took.items() if seconds <= least * ENOUGH)
    return replace(question.settings, workers=workers, streams=streams)


def what_if(question: Question) -> Iterator[WhatIf]:
    """What would change it: workers, processors, the link, and more hosts that divide the work."""
    settings, host, resources = question.settings, question.host, question.resources
    for workers in dict.fromkeys((1, max(1, resources.workers // 2), resources.workers * 2)):
        if workers != resources.workers:
            changed = replace(question, settings=replace(settings, workers=workers))
            yield WhatIf(f"{workers} worker{'' if workers == 1 else 's'}", changed.forecast().seconds)
    more = replace(question, host=replace(host, cores=2 * host.cores), settings=replace(settings, workers=None))
    yield WhatIf("twice the processors", more.forecast().seconds)
    if host.link_bytes_per_s is not None:
        wider = replace(host, link_bytes_per_s=2 * host.link_bytes_per_s)
        yield WhatIf("twice the bandwidth of the link", replace(question, host=wider).forecast().seconds)
    for hosts in (2, 4):
        part = replace(question, workload=_part(question.workload, hosts))
        yield WhatIf(f"{hosts} hosts, each with a part of the images", part.forecast().seconds)


def _part(workload: Workload, hosts: int) -> Workload:
    """What one of so many hosts has to do: every so many-th image. Blobs that images share move once for each host."""
    return replace(workload, images=workload.images[::hosts])


def parse_host(text: str) -> Host:
    """The host in "8 cores, 10 Gbit/s", "8 cores" or "10 Gbit/s". Raises ValueError with a sentence for people."""
    match = _HOST.fullmatch(text.strip())
    if match is None or not (match["cores"] or match["link"]):
        raise ValueError(f"{text!r} is no host: write for example “8 cores, 10 Gbit/s”")
    link = parse_rate(match["link"].strip()) if match["link"] else None
    if match["cores"] is not None and int(match["cores"]) < 1:
        raise ValueError(f"{text!r} has no processor")
    return Host(float(match["cores"] or 0), link)
