"""Whether a workload can be done within a budget of time and bandwidth: with what settings, or why not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.planning.estimate import parse_link
from image_syncer.planning.forecast import COORDINATOR, MACHINE
from image_syncer.planning.what_if import best_settings, divided, try_settings
from image_syncer.units import format_duration, format_rate, format_size, parse_duration
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.config import Settings
    from image_syncer.planning.estimate import Question

__all__ = ["Budget", "BudgetAnswer", "answer_budget", "parse_budget"]

LONGEST_S = 366 * 86400
"""More than any run takes."""
HOSTS = (2, 4, 8, 16, 32)
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+(?:and\s+)?")


class Budget(Value, frozen=True):
    """At most so many seconds, and bytes a second of all hosts together (None: what their links have)."""

    seconds: float
    bytes_per_s: float | None = None

    def __str__(self) -> str:
        rate = "" if self.bytes_per_s is None else f" and {self.bytes_per_s / 1e6:,.4g} MB/s"
        return format_duration(self.seconds) + rate


class BudgetAnswer(Value, frozen=True):
    """The fewest hosts, workers and streams that keep to it in nine cases of ten, and the window that goes with them;
    none of them where `reasons` say why nothing does.
    """

    hosts: int = 0
    workers: int = 0
    streams: int = 0
    window_bytes: int = 0
    p90_s: float = 0.0
    reasons: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether something keeps to it."""
        return self.hosts > 0


def parse_budget(text: str) -> Budget:
    """From "8h", "8h, 200MB/s" or "200MB/s 8h". Raises ValueError with a sentence for people."""
    seconds: float | None = None
    rate: float | None = None
    for part in filter(None, _SEPARATOR.split(text.strip())):
        try:
            value = parse_duration(part)
        except ValueError:
            if rate is not None or not part[:1].isdigit():
                raise ValueError(_no_budget(text)) from None
            rate = parse_link(part)
            continue
        if seconds is not None:
            raise ValueError(_no_budget(text))
        if not 0 < value <= LONGEST_S:
            raise ValueError(f"{part!r}: it must be more than nothing, and a year at most")
        seconds = value
    if seconds is None:
        raise ValueError(_no_budget(text))
    return Budget(seconds, rate)


def _no_budget(text: str) -> str:
    return f"{text[:60]!r} is no budget: write a time, and a bandwidth if you like, such as “8h” or “8h, 200MB/s”"


def answer_budget(question: Question, budget: Budget, *, least_s: float = 0.0) -> BudgetAnswer:
    """The least that keeps to it. `least_s` is what published limits take, however many hosts there are. Settings that
    the question has stay. Raises ValueError where nothing bounds the run.
    """
    question = _bounded(question, budget, 1)
    largest_s = _largest_blob_s(question)
    if max(least_s, largest_s) <= budget.seconds:
        for (workers, streams), one in try_settings(question).items():
            if one.p90_s <= budget.seconds:
                return _answer(one, 1, workers, streams)
        wanted = replace(question, settings=_kept(question, best_settings(question)))
        if not _is_short(wanted, budget):
            for hosts in HOSTS:
                one = divided(_bounded(wanted, budget, hosts), hosts).sketch
                if one.p90_s <= budget.seconds:
                    resources = one.resources
                    return _answer(one, hosts, resources.workers, resources.streams)
    reasons = tuple(_reasons(question, budget, least_s, largest_s))
    return BudgetAnswer(reasons=reasons)


def _bounded(question: Question, budget: Budget, hosts: int) -> Question:
    """What of the budget's bandwidth one of so many hosts may take."""
    if budget.bytes_per_s is None:
        return question
    share, link = budget.bytes_per_s / hosts, question.host.link_bytes_per_s
    return replace(question, host=replace(question.host, link_bytes_per_s=share if link is None else min(link, share)))


def _kept(question: Question, best: Settings) -> Settings:
    settings = question.settings
    return replace(settings, workers=settings.workers or best.workers, streams=settings.streams or best.streams)


def _is_short(question: Question, budget: Budget) -> bool:
    """Whether the bandwidth of the budget alone takes longer: more hosts have no more of it."""
    rate = budget.bytes_per_s
    return rate is not None and question.workload.bytes_to_move() > rate * budget.seconds


def _answer(question: Question, hosts: int, workers: int, streams: int) -> BudgetAnswer:
    resources = question.resources
    return BudgetAnswer(
        hosts, min(workers, resources.workers), min(streams, resources.streams), resources.window_bytes, question.p90_s
    )


def _largest_blob_s(question: Question) -> float:
    """How long the largest blob takes, which is one stream however many hosts there are."""
    longest = 0.0
    for image in question.workload.images:
        for destination in image.destinations:
            bound = question.path_of(image.source.registry, destination.registry).limits.stream_bytes_per_s
            if bound is not None:
                present = question.workload.present
                missing = (one.size for one in image.blobs if (destination.registry, one.digest) not in present)
                longest = max(longest, max(missing, default=0) / bound)
    return longest


def _reasons(question: Question, budget: Budget, least_s: float, largest_s: float) -> Iterator[str]:
    """What stands in the way, and what would have to be different."""
    seconds = budget.seconds
    if least_s > seconds:
        yield f"published limits alone take longer: {format_duration(least_s)} (see Limit)"
    if largest_s > seconds:
        yield f"the largest blob alone takes {format_duration(largest_s)} as one stream: the path has to be faster"
    size = question.workload.bytes_to_move()
    wanted = size / seconds
    link = question.host.link_bytes_per_s
    if link is not None and wanted > link:
        yield (
            f"bandwidth: {format_size(size)} in {format_duration(seconds)} are {format_rate(wanted)}, and the link has "
            f"{format_rate(link)}"
        )
    bounds: dict[float, str] = {}
    for image in question.workload.images:
        for destination in image.destinations:
            most = question.path_of(image.source.registry, destination.registry).limits.path_bytes_per_s
            if most is not None:
                bounds[most] = f"{image.source.registry} → {destination.registry}"
    if bounds and wanted > max(bounds) and len(bounds) == 1:
        yield f"the path {bounds[max(bounds)]} carried {format_rate(max(bounds))}, and {format_rate(wanted)} are needed"
    sketch = question.sketch
    best = replace(sketch, settings=_kept(question, best_settings(question)))
    done, times = best.forecast(), best.times
    if done.bottleneck in (MACHINE, COORDINATOR, "worker"):
        cores = done.machine_s * times / seconds if done.bottleneck == MACHINE else done.cpu_s * times / seconds
        yield f"processors: about {max(cores, 0.1):.1f} of them would be busy all the time, of {question.host.cores:g}"
    yield (
        f"the best settings take up to {format_duration(best.p90_s)} on one host, waiting for {done.bottleneck} most"
    )
