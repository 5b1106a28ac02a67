"""What would change an estimate: settings, workers, processors, bandwidth, more hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.units import LEAST_S, format_rate
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer.config import Settings
    from image_syncer.planning.estimate import Question
    from image_syncer.planning.workload import Workload

__all__ = ["WhatIf", "best_settings", "divided", "try_settings", "what_if"]

ENOUGH = 1.03
"""Settings that take so much longer than the best are as good; the fewest workers and streams of those are taken."""
STREAMS = (4, 16, 64)
MOST_WORKERS = 64
"""That are tried; where more are asked for, they are reckoned."""
HOSTS = (2, 4)


class WhatIf(Value, frozen=True):
    """How long it takes with one thing changed."""

    change: str
    seconds: float


def try_settings(question: Question) -> Mapping[tuple[int, int], Question]:
    """The question with each pair of workers and streams that a host like this may pay for, the fewest first. Where one
    of them is set, it stays.
    """
    settings, sketch = question.settings, question.sketch
    workers = [settings.workers] if settings.workers else list(_doubled(2 * round(question.host.cores)))
    streams = [settings.streams] if settings.streams else STREAMS
    return {
        (each, most): replace(sketch, settings=replace(settings, workers=each, streams=most))
        for each in workers
        for most in streams
    }


def _doubled(most: int) -> Iterator[int]:
    number = 1
    while number <= max(1, min(most, MOST_WORKERS)):
        yield number
        number *= 2


def best_settings(question: Question) -> Settings:
    """Workers and streams beyond which more does not pay. Raises ValueError where nothing bounds the run."""
    tried = try_settings(replace(question, settings=replace(question.settings, workers=None, streams=None)))
    least = min(one.seconds for one in tried.values())
    workers, streams = min(pair for pair, one in tried.items() if one.seconds <= least * ENOUGH)
    return replace(question.settings, workers=workers, streams=streams)


def what_if(question: Question) -> Iterator[WhatIf]:
    """What would change it: workers, processors, the link, and more hosts that divide the work."""
    sketch = question.sketch
    settings, host, resources = sketch.settings, sketch.host, sketch.resources
    scale = question.seconds / sketch.seconds if sketch is not question and sketch.seconds else 1.0

    def found(change: str, changed: Question) -> WhatIf:
        return WhatIf(change, changed.seconds * scale)

    for workers in dict.fromkeys((1, max(1, resources.workers // 2), resources.workers * 2)):
        if workers != resources.workers:
            words = f"{workers} worker{'' if workers == 1 else 's'}"
            yield found(words, replace(sketch, settings=replace(settings, workers=workers)))
    more = replace(sketch, host=replace(host, cores=2 * host.cores), settings=replace(settings, workers=None))
    yield found("twice the processors", more)
    if host.link_bytes_per_s is not None:
        for words, factor in (("half the bandwidth of the link", 0.5), ("twice the bandwidth of the link", 2.0)):
            link = factor * host.link_bytes_per_s
            yield found(words, replace(sketch, host=replace(host, link_bytes_per_s=link)))
    elif (rate := sketch.forecast().bytes_moved / max(sketch.forecast().seconds, LEAST_S)) >= 1:
        link = rate / 2
        words = f"a link of {format_rate(link)}, half of what it takes"
        yield found(words, replace(sketch, host=replace(host, link_bytes_per_s=link)))
    for hosts in HOSTS:
        yield found(f"{hosts} hosts, each with a part of the images", divided(question, hosts).sketch)


def divided(question: Question, hosts: int) -> Question:
    """What one of so many hosts has to do: every so many-th image. Blobs that images share move once for each host."""
    return replace(question, workload=_part(question.workload, hosts))


def _part(workload: Workload, hosts: int) -> Workload:
    return replace(workload, images=workload.images[::hosts])
