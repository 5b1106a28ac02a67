"""`image-syncer estimate`: says how long a plan takes, on which host and with which settings, or draws it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import printable, say
from image_syncer_cli.option_values import file_option, number_option, parsed_by
from image_syncer_cli.options import MAX_STREAMS, MAX_WORKERS, quiet_debug_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from image_syncer.capacity.estimate import Budget, Question
    from image_syncer.capacity.forecast import Host
    from image_syncer.reporting.plan_account import PlanAccount


_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 11.0, 7.2, 120
_LINE, _BAND, _BARS = "#0072b2", "#56b4e9", "#009e73"
"""Of Okabe and Ito: told apart by people who see colours differently."""
_WORKERS = (1, 2, 4, 8, 16)
_HOSTS = (1, 2, 4, 8)
_LINKS = (0.25, 0.5, 1.0, 2.0)
"""Times the bandwidth of the link, or the rate of the run if no link is given."""
_GIGABYTE = 1e9
_MAX_WAITS = 3
_LABEL = 14
EXIT_TOO_LONG = 1
_MAX_PRICE = 1e9
"""In any currency: more is a typing error."""

_Points = list[tuple[float, float, float]]


def draw_estimate(question: Question, name: str) -> bytes:
    """Return the picture; `name` is that of the plan's file."""
    from image_syncer.capacity.estimate import what_if
    from image_syncer.units import format_duration, format_rate
    from image_syncer_cli.display.plots import GRID, INK, SOFT, open_sheet, to_png

    sheet = open_sheet(_WIDTH_INCHES, _HEIGHT_INCHES, _DPI)
    grid = sheet.add_gridspec(2, 3, left=0.06, right=0.98, top=0.84, bottom=0.09, wspace=0.25, hspace=0.6)
    lines = [sheet.add_subplot(grid[0, column]) for column in range(3)]
    below = grid[1, :].subgridspec(1, 2, width_ratios=(0.35, 1), wspace=0.02)
    changes = sheet.add_subplot(below[1])
    sheet.text(0.02, 0.95, "How long the plan takes", fontsize=13, weight="bold", color=INK)
    sheet.text(0.02, 0.915, name[:80].replace("$", r"\$"), fontsize=8, color=SOFT)
    curves: tuple[tuple[str, _Points, Callable[[float], str]], ...] = (
        ("workers", _by_workers(question), "{:g}".format),
        ("hosts that divide the images", _by_hosts(question), "{:g}".format),
        ("bandwidth of the link", _by_bandwidth(question), format_rate),
    )
    for axis, (label, found, word) in zip(lines, curves, strict=True):
        at, half, most = ([point[part] for point in found] for part in range(3))
        axis.fill_between(at, half, most, color=_BAND, alpha=0.4)
        axis.plot(at, half, color=_LINE, marker="o", label="half of all runs")
        axis.plot(at, most, color=_LINE, linestyle="--", label="nine of ten runs")
        axis.set_xscale("log", base=2)
        axis.set_xticks(at, [word(one) for one in at], fontsize=8)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel(label, fontsize=9, color=SOFT)
        axis.grid(color=GRID, linewidth=0.6)
    lines[0].set_ylabel("seconds", fontsize=9, color=SOFT)
    lines[0].legend(fontsize=8, frameon=False)
    rows = [("as asked", question.forecast().seconds), *((one.change, one.seconds) for one in what_if(question))]
    places = range(len(rows))
    changes.barh(places, [seconds for _, seconds in rows], color=_BARS, height=0.6)
    changes.set_yticks(places, [change for change, _ in rows], fontsize=8)
    changes.invert_yaxis()
    changes.margins(x=0.2)
    for place, (_, seconds) in enumerate(rows):
        changes.text(seconds, place, f" {format_duration(seconds)}", va="center", fontsize=8, color=INK)
    changes.set_xlabel("seconds", fontsize=9, color=SOFT)
    for axis in (*lines, changes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=SOFT, labelsize=8)
    return to_png(sheet)


def _by_workers(question: Question) -> _Points:
    sketch = question.sketch
    limit = max(2, min(_WORKERS[-1], 4 * question.host.cores))
    workers = [number for number in _WORKERS if number <= limit]
    return _points(workers, [replace(sketch, settings=replace(sketch.settings, workers=one)) for one in workers])


def _by_hosts(question: Question) -> _Points:
    from image_syncer.capacity.estimate import divided

    return _points(_HOSTS, [divided(question, hosts).sketch for hosts in _HOSTS])


def _by_bandwidth(question: Question) -> _Points:
    sketch = question.sketch
    done = sketch.forecast()
    rate = question.host.link_bytes_per_s or max(1.0, done.bytes_moved / max(done.seconds, 1e-3))
    links = [factor * rate for factor in _LINKS]
    return _points(links, [replace(sketch, host=replace(sketch.host, link_bytes_per_s=link)) for link in links])


def _points(places: Sequence[float], sketches: Sequence[Any]) -> _Points:
    return [(place, one.seconds, one.p90_s) for place, one in zip(places, sketches, strict=True)]


class EstimateAnswer:
    """An estimate, the best settings, and whether they keep to a budget. Raises ValueError where nothing bounds the
    run.
    """

    def __init__(
        self,
        question: Question,
        account: PlanAccount,
        prices: dict[str, float],
        budget: Budget | None,
        window_bytes: int | None,
    ) -> None:
        from image_syncer.capacity.estimate import answer_budget, best_settings, estimate, what_if

        if window_bytes is not None:
            question = replace(question, settings=replace(question.settings, window_bytes=window_bytes))
        self._changes = partial(what_if, question)
        self._account = account
        self._prices = prices
        self._budget = budget
        self._waits = account.waits()
        self._least_s = max((wait.seconds for wait in self._waits[:1]), default=0.0)
        self._found = estimate(question)
        best = estimate(replace(question.sketch, settings=best_settings(question)))
        scale = self._found.seconds / question.sketch.seconds if question.sketch.seconds else 1.0
        self._best = replace(best, seconds=best.seconds * scale, p90_s=best.p90_s * scale)
        self._kept = None if budget is None else answer_budget(question, budget, least_s=self._least_s)
        self.fits = self._kept is None or self._kept.fits
        """Whether some settings keep to the budget in nine cases of ten, and published limits do."""

    def lines(self) -> Iterator[str]:
        """Yield the answer in words."""
        from image_syncer.units import format_duration, format_size

        found, forecast = self._found, self._found.forecast
        moves = f"{format_size(forecast.bytes_moved)} in {forecast.blobs_moved:,} blobs"
        rows = [
            ("Time", f"{format_duration(found.seconds)}; nine of ten runs within {format_duration(found.p90_s)}"),
            ("Waits for", ", then ".join(dict.fromkeys(phase.bottleneck for phase in forecast.phases)) or "nothing"),
            ("Moves", f"{moves}, {forecast.blobs_mounted:,} mounted"),
            ("Takes", f"{forecast.cpu_s:,.1f} s of processors, {format_size(forecast.memory_bytes)} of memory"),
            ("With", f"{found.workers} workers × {found.streams} streams"),
        ]
        best = self._best
        if (best.workers, best.streams) != (found.workers, found.streams):
            rows.append(("Best", f"--workers {best.workers} --streams {best.streams}: {format_duration(best.seconds)}"))
        rows += [*self._limit_rows(), *self._budget_rows(), *self._cost_rows()]
        yield from (f"{label:<{_LABEL}}{printable(text)}" for label, text in rows)
        yield ""
        yield from (f"  {format_duration(one.seconds):>12}  with {one.change}" for one in self._changes())

    def _limit_rows(self) -> Iterator[tuple[str, str]]:
        """Yield the published limits that take longer than the run."""
        from image_syncer.units import format_duration

        for wait in self._waits[:_MAX_WAITS]:
            if wait.seconds > self._found.seconds:
                least = format_duration(wait.seconds)
                yield "Limit", f"{wait.registry}: {wait.count:,} {wait.operations} at {wait.rate}: {least} at least"

    def _budget_rows(self) -> Iterator[tuple[str, str]]:
        from image_syncer.units import format_duration

        kept, budget = self._kept, self._budget
        if kept is None or budget is None:
            return
        if not kept.fits:
            yield "Budget", f"{budget} is not enough:"
            yield from (("", reason) for reason in kept.reasons)
            return
        words = f"--workers {kept.workers} --streams {kept.streams} --window {_size_word(kept.window_bytes)}"
        if budget.bytes_per_s is not None:
            words += f" --rate {_size_word(int(budget.bytes_per_s / kept.hosts))}/s"
        hosts = f" on each of {kept.hosts} hosts, with a part of the images" if kept.hosts > 1 else ""
        yield "Budget", f"{budget} is enough{hosts}: {words}"
        yield "", f"nine of ten runs within {format_duration(kept.p90_s)}"

    def _cost_rows(self) -> Iterator[tuple[str, str]]:
        for registry, cost in self._costs().items():
            yield "Cost", f"{cost:,.2f} for what goes out of {registry}"

    def _costs(self) -> dict[str, float]:
        """Return the cost by registry: each distinct blob leaves its source once, for all destinations."""
        out = self._account.bytes_out
        return {registry: price * out.get(registry, 0) / _GIGABYTE for registry, price in self._prices.items()}

    def as_data(self) -> dict[str, Any]:
        """Return the answer for `--json`."""
        found, forecast = self._found, self._found.forecast
        kept, budget = self._kept, self._budget
        told = None
        if kept is not None and budget is not None:
            told = {"seconds": budget.seconds, "bytes_per_s": budget.bytes_per_s, "fits": kept.fits, **asdict(kept)}
        return {
            "seconds": found.seconds,
            "p90_s": found.p90_s,
            "bottleneck": forecast.bottleneck,
            "phases": [asdict(phase) for phase in forecast.phases],
            "bytes_moved": forecast.bytes_moved,
            "blobs_moved": forecast.blobs_moved,
            "blobs_mounted": forecast.blobs_mounted,
            "cpu_s": forecast.cpu_s,
            "memory_bytes": forecast.memory_bytes,
            "workers": found.workers,
            "streams": found.streams,
            "best": {"workers": self._best.workers, "streams": self._best.streams, "seconds": self._best.seconds},
            "published_limits_s": self._least_s,
            "limits": [asdict(wait) for wait in self._waits],
            "fits": None if kept is None else kept.fits,
            "budget": told,
            "costs": self._costs(),
            "what_if": [{"change": one.change, "seconds": one.seconds} for one in self._changes()],
        }


def _size_word(size_bytes: int) -> str:
    """Return a size as options take it, in the largest unit in which it is a whole number."""
    for unit, factor in (("GiB", 2**30), ("GB", 10**9), ("MiB", 2**20), ("MB", 10**6), ("KiB", 2**10), ("KB", 10**3)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def _parse_prices(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for value in (item.strip() for text in values for item in text.split(",")):
        registry, _, price = value.rpartition("=")
        try:
            number = float(price)
        except ValueError:
            number = math.nan
        if not registry.strip() or not 0 <= number <= _MAX_PRICE:
            raise click.BadParameter(
                f"{value[:60]!r} is no price: write REGISTRY=NUMBER, for a gigabyte that goes out of it."
            )
        if prices.setdefault(registry.strip(), number) != number:
            raise click.BadParameter(f"{registry.strip()!r} has two prices.")
    return prices


@click.command(cls=Verb)
@file_option("--plan", "plan_path", required=True, help="Plan (plan --save).")
@file_option("--bench", "bench_path", required=True, help="Measurements (bench --save).")
@number_option("--workers", at_most=MAX_WORKERS, help="Worker processes. [default: as a run decides]")
@number_option("--streams", at_most=MAX_STREAMS, help="Streams per worker. [default: as a run decides]")
@click.option(
    "--bandwidth",
    callback=parsed_by("parse_link", module="capacity.estimate"),
    metavar="RATE",
    help="Bandwidth of the link in each direction, e.g. 1Gbit/s.",
)
@click.option(
    "--host",
    callback=parsed_by("parse_host", module="capacity.estimate"),
    metavar="TEXT",
    help="Another host than the measured one: '8 cores, 10Gbit/s'.",
)
@click.option(
    "--budget",
    callback=parsed_by("parse_budget", module="capacity.estimate"),
    metavar="BUDGET",
    help="Find settings that keep to a time, and a bandwidth: 8h, or '8h, 200MB/s'; or say why none do.",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    callback=_parse_prices,
    metavar="REGISTRY=PRICE",
    help="Price of a gigabyte (10^9 bytes) that leaves a registry; comma-separated, can be repeated.",
)
@file_option("--plot", help="Draw the time by workers, hosts and bandwidth, and what would change it, as PNG.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@quiet_debug_option
def estimate(  # noqa: PLR0913 - one parameter an option
    *,
    plan_path: str,
    bench_path: str,
    workers: int | None,
    streams: int | None,
    bandwidth: float | None,
    host: Host | None,
    budget: Budget | None,
    prices: dict[str, float],
    plot: str | None,
    as_json: bool,
) -> int:
    """Estimate how long a sync of the plan takes: in half of all cases, and in nine of ten.

    Simulates the run with the scheduler of real runs and the measurements of the bench. The exit code is 1 if nothing
    keeps to --budget.
    """
    import image_syncer
    from image_syncer.bench.bench_file import load_bench
    from image_syncer.capacity.estimate import Question as engine_Question
    from image_syncer.capacity.forecast import Host as engine_Host
    from image_syncer.reporting.plan_account import account_for, workload_of

    if plot is not None:
        from image_syncer_cli.display.plots import require_matplotlib

        require_matplotlib("estimate --plot")
    plan, bench = image_syncer.load_plan(plan_path), load_bench(bench_path)
    cores = host.cores if host is not None and host.cores else max(path.cores for path in bench.paths)
    link = bandwidth if bandwidth is not None else host.link_bytes_per_s if host is not None else None
    workload = workload_of(plan)
    question = engine_Question(
        workload,
        bench.path_of,
        image_syncer.Settings(workers=workers, streams=streams),
        engine_Host(cores, link),
        max(path.spread for path in bench.paths),
    )
    window = None if bench.best is None else bench.best.window
    try:
        answer = EstimateAnswer(question, account_for(plan), prices, budget, window)
    except ValueError as error:
        hint = "Measure again: image-syncer bench --plan FILE --save FILE."
        raise image_syncer.ConfigurationError(f"{bench_path} does not do for this plan: {error}", hint=hint) from None
    say(json.dumps(answer.as_data(), ensure_ascii=False) if as_json else "\n".join(answer.lines()))
    if plot is not None:
        picture = draw_estimate(question, Path(plan_path).name)
        from image_syncer.telemetry.partial_file import PartialFile

        PartialFile.write_all(plot, picture, noun="the picture", option="--plot")
    return 0 if budget is None or answer.fits else EXIT_TOO_LONG
