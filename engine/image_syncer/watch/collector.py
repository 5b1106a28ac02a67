"""What a watch adds to the metrics of its runs: read from it when Prometheus asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from image_syncer.watch.status import WatchStatus

__all__ = ["WatchCollector"]


class WatchCollector:
    """A collector of prometheus-client: `registry.register` takes it. `counts` gives what only grows, by name, label
    and value: notifications and webhooks by what became of them, rounds by their cause.
    """

    def __init__(self, status: WatchStatus, counts: Callable[[], Mapping[str, tuple[str, Mapping[str, int]]]]) -> None:
        self._status = status
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, and once when it is registered."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._status
        yield GaugeMetricFamily(
            "image_syncer_watch_configuration_in_force",
            "1 while the files that were read last are in force; 0: they have mistakes, and older ones are.",
            value=int(status.configuration_error is None),
        )
        yield GaugeMetricFamily(
            "image_syncer_watch_next_round_timestamp_seconds",
            "When the next round is due by the schedule; 0: that is not known.",
            value=status.next_at or 0,
        )
        yield GaugeMetricFamily(
            "image_syncer_watch_repositories_left_alone",
            "Repositories that the last round by the schedule left alone, since nothing changes there.",
            value=status.left_alone,
        )
        yield CounterMetricFamily(
            "image_syncer_watch_rounds_left_out",
            "Times of the schedule that passed while a run was under way.",
            value=status.left_out,
        )
        for name, (label, values) in self._counts().items():
            family = CounterMetricFamily(f"image_syncer_watch_{name}", _HELP[name], labels=[label])
            for value, count in values.items():
                family.add_metric([value], count)
            yield family


_HELP = {
    "rounds": "Rounds that have begun, by what made them begin; idle: all repositories were left alone.",
    "notifications": "Notifications of registries, by what became of them.",
    "webhooks": "Summaries of runs for webhooks, by what became of them.",
}
