"""`image-syncer estimate`: how long a plan takes, on what host, with what settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_values import file_name, parse_duration_option, whole_number
from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer import Estimate, Host, PlanAccount, Question

__all__ = ["estimate"]

EXIT_TOO_LONG = 1
GIGABYTE = 1e9


def _parse_host(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Host | None:
    from image_syncer import parse_host

    try:
        return None if value is None else parse_host(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _parse_bandwidth(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    from image_syncer.units import parse_rate

    try:
        return None if value is None else parse_rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _parse_prices(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for value in values:
        registry, separator, price = value.rpartition("=")
        try:
            prices[registry] = float(price)
        except ValueError:
            separator = ""
        if not separator or not registry:
            raise click.BadParameter(
                f"{value!r} is no price: write REGISTRY=NUMBER, for a gigabyte that goes out of it"
            )
    return prices


@click.command(cls=Verb, short_help="Say how long a plan takes, and what would change that.")
@click.option("--plan", "plan_path", required=True, callback=file_name, metavar="FILE", help="The plan (plan --save).")
@click.option(
    "--bench", "bench_path", required=True, callback=file_name, metavar="FILE", help="What was measured (bench --save)."
)
@click.option("--workers", callback=whole_number(1), metavar="N", help="Worker processes. [default: as a run decides]")
@click.option(
    "--streams", callback=whole_number(1), metavar="N", help="Streams of a worker. [default: as a run decides]"
)
@click.option("--bandwidth", callback=_parse_bandwidth, metavar="RATE", help="Of the link in each direction: 1Gbit/s.")
@click.option(
    "--host", callback=_parse_host, metavar="TEXT", help="Another host than that of the bench: '8 cores, 10Gbit/s'."
)
@click.option(
    "--budget", callback=parse_duration_option, metavar="DURATION", help="Say whether it ends within so long, and how."
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    callback=_parse_prices,
    metavar="REGISTRY=PRICE",
    help="Of a gigabyte (10^9 bytes) that goes out of a registry; may be given again.",
)
@click.option(
    "--plot", callback=file_name, metavar="FILE", help="Draw the time by workers, and what would change it, as PNG."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@debug_option
def estimate(
    *,
    plan_path: str,
    bench_path: str,
    workers: int | None,
    streams: int | None,
    bandwidth: float | None,
    host: Host | None,
    budget: float | None,
    prices: dict[str, float],
    plot: str | None,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - main reads --debug
) -> int:
    """Say how long a sync of the plan takes: in half of all cases, and in nine of ten.

    A simulation with the scheduler of real runs, over what the bench measured. The exit code is 1 where --budget is
    given and nothing keeps to it.
    """
    import image_syncer

    if plot is not None:
        from image_syncer_cli.timeline_plot import require_matplotlib

        require_matplotlib("estimate --plot")
    plan, bench = image_syncer.load_plan(plan_path), image_syncer.load_bench(bench_path)
    cores = host.cores if host is not None and host.cores else max(path.cores for path in bench.paths)
    link = bandwidth if bandwidth is not None else host.link_bytes_per_s if host is not None else None
    question = image_syncer.Question(
        image_syncer.workload_of(plan),
        bench.path_of,
        image_syncer.Settings(workers=workers, streams=streams),
        image_syncer.Host(cores, link),
        max(path.spread for path in bench.paths),
    )
    account = image_syncer.account_for(plan)
    found = image_syncer.estimate(question)
    best = image_syncer.best_settings(question)
    best_found = image_syncer.estimate(replace(question, settings=best))
    answer = _Answer(question, account, found, best_found, prices, budget)
    say(json.dumps(answer.as_data(), ensure_ascii=False) if as_json else "\n".join(answer.lines()))
    if plot is not None:
        _draw(question, plot, plan_path)
    return 0 if budget is None or answer.fits else EXIT_TOO_LONG


def _draw(question: Question, path: str, plan_path: str) -> None:
    from image_syncer import PartialFile
    from image_syncer_cli.estimate_plot import draw_estimate

    picture = draw_estimate(question, Path(plan_path).name)
    PartialFile.write_all(path, picture, noun="the picture", option="--plot")


class _Answer:
    """What is said, in words or as data."""

    def __init__(
        self,
        question: Question,
        account: PlanAccount,
        found: Estimate,
        best: Estimate,
        prices: dict[str, float],
        budget: float | None,
    ) -> None:
        self._question = question
        self._account = account
        self._found = found
        self._best = best
        self._prices = prices
        self._budget = budget
        waits = account.waits()
        self._least_s = max((wait.seconds for wait in waits[:1]), default=0.0)
        self._wait = waits[0] if waits else None

    @property
    def fits(self) -> bool:
        """Whether the best settings keep to the budget in nine cases of ten, and published limits do."""
        return self._budget is None or max(self._best.p90_s, self._least_s) <= self._budget

    def lines(self) -> Iterator[str]:
        from image_syncer.units import format_duration, format_size

        found, forecast = self._found, self._found.forecast
        yield f"{'Time':<14}{format_duration(found.seconds)}; nine of ten runs within {format_duration(found.p90_s)}"
        yield f"{'Waits for':<14}{', then '.join(dict.fromkeys(phase.bottleneck for phase in forecast.phases))}"
        mounted = f"{forecast.blobs_mounted:,} mounted"
        yield f"{'Moves':<14}{format_size(forecast.bytes_moved)} in {forecast.blobs_moved:,} blobs, {mounted}"
        yield f"{'Takes':<14}{forecast.cpu_s:,.1f} s of processors, {format_size(forecast.memory_bytes)} of memory"
        yield f"{'With':<14}{found.workers} workers × {found.streams} streams"
        best = self._best
        if (best.workers, best.streams) != (found.workers, found.streams):
            yield f"{'Best':<14}--workers {best.workers} --streams {best.streams}: {format_duration(best.seconds)}"
        if self._wait is not None and self._least_s > found.seconds:
            wait = self._wait
            least = format_duration(wait.seconds)
            yield f"{'Limit':<14}{wait.registry}: {wait.count:,} {wait.operations} at {wait.rate}: {least} at least"
        for label, text in (*self._budget_lines(), *self._cost_lines()):
            yield f"{label:<14}{text}"
        from image_syncer import what_if

        yield ""
        for one in what_if(self._question):
            yield f"  {format_duration(one.seconds):>10}  with {one.change}"

    def _budget_lines(self) -> Iterator[tuple[str, str]]:
        from image_syncer.units import format_duration

        if self._budget is None:
            return
        best = self._best
        within = format_duration(self._budget)
        if self.fits:
            yield "Budget", f"{within} is enough: --workers {best.workers} --streams {best.streams}"
        elif self._least_s > self._budget:
            yield "Budget", f"{within} is not enough: published limits alone take longer"
        else:
            yield "Budget", f"{within} is not enough on this host: the best takes up to {format_duration(best.p90_s)}"

    def _cost_lines(self) -> Iterator[tuple[str, str]]:
        for registry, cost in self._costs().items():
            yield "Cost", f"{cost:,.2f} for what goes out of {registry}"

    def _costs(self) -> dict[str, float]:
        """By registry: each distinct blob leaves its source once, whatever the number of destinations."""
        return {
            registry: self._prices[registry] * size / GIGABYTE
            for registry, size in self._account.bytes_out.items()
            if registry in self._prices
        }

    def as_data(self) -> dict[str, Any]:
        from image_syncer import what_if

        found, forecast = self._found, self._found.forecast
        return {
            "seconds": found.seconds,
            "p90_s": found.p90_s,
            "bottleneck": forecast.bottleneck,
            "phases": [vars(phase) for phase in forecast.phases],
            "bytes_moved": forecast.bytes_moved,
            "blobs_moved": forecast.blobs_moved,
            "blobs_mounted": forecast.blobs_mounted,
            "cpu_s": forecast.cpu_s,
            "memory_bytes": forecast.memory_bytes,
            "workers": found.workers,
            "streams": found.streams,
            "best": {"workers": self._best.workers, "streams": self._best.streams, "seconds": self._best.seconds},
            "published_limits_s": self._least_s,
            "fits": None if self._budget is None else self.fits,
            "costs": self._costs(),
            "what_if": [{"change": one.change, "seconds": one.seconds} for one in what_if(self._question)],
        }
