"""Estimates: how long a workload takes, with what settings."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.planning.forecast import Forecast, Host
from image_syncer.planning.resources import Machine, decide_resources
from image_syncer.planning.simulation import simulate
from image_syncer.planning.thinning import thin_out
from image_syncer.units import parse_rate
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Settings
    from image_syncer.planning.foreseen import Track
    from image_syncer.planning.measured import MeasuredPath
    from image_syncer.planning.resources import Resources
    from image_syncer.planning.workload import Workload

__all__ = ["Estimate", "Question", "estimate", "parse_host", "parse_link"]

ONE_IN_TEN = 1.2816
"""Standard deviations of a normal distribution above which one in ten lies."""
MODEL_SPREAD = 0.10
"""Of the logarithm: what the model itself is wrong by, as `docs/capacity.md` has it."""
MOST_CORES = 4096
"""More than any machine has."""
OPEN_FILES = 2**20
"""Of a host that is asked about: as many as systems allow today, so that they are no bound."""
_HOST = re.compile(r"(?:(?P<cores>[0-9]{1,9}) *cores?)?[ ,;]*(?P<link>[0-9].*)?", re.IGNORECASE)


class Question(Value, frozen=True):
    """What is to be estimated: a workload over measured paths, on a host, with settings. The real one is `times` the
    workload, see `sketch`.
    """

    workload: Workload
    path_of: Callable[[str, str], MeasuredPath]
    settings: Settings
    host: Host
    spread: float = 0.05
    times: float = 1.0
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """What was reckoned already, for all questions that were made of one another."""

    __repr__ = repr_without("known")

    @property
    def resources(self) -> Resources:
        """What a run on that host would use."""
        return decide_resources(self.settings, Machine(cpus=max(1, round(self.host.cores)), open_files=OPEN_FILES))

    def forecast(self, track: Track | None = None) -> Forecast:
        """The run of the workload in virtual time, of which `track` is told if it was not known before. Raises
        ValueError where nothing bounds it.
        """
        resources = self.resources
        done: Forecast = self._once(
            (resources, self.host), lambda: simulate(self.workload, self.path_of, resources, self.host, track)
        )
        return done

    @property
    def seconds(self) -> float:
        """How long all of it takes: what is `times` the workload still starts once. Raises ValueError where nothing
        bounds it.
        """
        done = self.forecast()
        if self.times == 1.0:
            return done.seconds
        image = self.workload.images[0]
        path = self.path_of(image.source.registry, image.destinations[0].registry if image.destinations else "")
        workers_start_s = path.workers_start_s if done.blobs_moved + done.blobs_mounted else 0.0
        start_s = min(path.start_s + workers_start_s, done.seconds)
        return start_s + (done.seconds - start_s) * self.times

    @property
    def p90_s(self) -> float:
        """The time within which nine of ten runs end."""
        return self.seconds * math.exp(ONE_IN_TEN * math.hypot(self.spread, MODEL_SPREAD))

    @property
    def sketch(self) -> Question:
        """The same about a part of the workload, where that is large: to compare settings with each other."""
        part, times = self._once(("part",), lambda: thin_out(self.workload))
        return self if times == 1.0 else replace(self, workload=part, times=times * self.times)

    def _once(self, key: tuple[Any, ...], reckon: Callable[[], Any]) -> Any:
        about = (self.workload, self.path_of)  # kept with the answer, so that no other object gets their ids
        whole = (*map(id, about), *key)
        if whole not in self.known:
            self.known[whole] = (about, reckon())
        return self.known[whole][1]


class Estimate(Value, frozen=True):
    """`seconds` is as likely to be too long as too short; one run in ten takes longer than `p90_s`."""

    forecast: Forecast
    seconds: float
    p90_s: float
    workers: int
    streams: int


def estimate(question: Question) -> Estimate:
    """The estimate for a question. Raises ValueError where nothing bounds the run."""
    resources = question.resources
    return Estimate(question.forecast(), question.seconds, question.p90_s, resources.workers, resources.streams)


def parse_host(text: str) -> Host:
    """The host in "8 cores, 10 Gbit/s", "8 cores" or "10 Gbit/s". Raises ValueError with a sentence for people."""
    match = _HOST.fullmatch(text.strip())
    if match is None or not (match["cores"] or match["link"]):
        raise ValueError(f"{text[:60]!r} is no host: write for example “8 cores, 10 Gbit/s”")
    link = parse_link(match["link"].strip()) if match["link"] else None
    if match["cores"] is not None and not 1 <= int(match["cores"]) <= MOST_CORES:
        raise ValueError(f"{text[:60]!r}: a host has 1 to {MOST_CORES:,} cores")
    return Host(float(match["cores"] or 0), link)


def parse_link(text: str) -> float:
    """Bytes a second of a link: more than none. Raises ValueError with a sentence for people."""
    rate = parse_rate(text)
    if rate < 1:
        raise ValueError(f"{text[:60]!r} is no bandwidth: over such a link nothing ever arrives")
    return rate
