"""`image-syncer estimate`: how long a plan takes, on what host, with what settings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.estimate_answer import EstimateAnswer
from image_syncer_cli.option_values import file_name, whole_number
from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import Budget, Host, Question

__all__ = ["estimate"]

EXIT_TOO_LONG = 1
MOST_PRICE = 1e9
"""In any money: more is a slip."""


def _read_by(name: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback for click: what the engine's function of that name makes of the text."""

    def read(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
        import image_syncer

        try:
            return None if value is None else getattr(image_syncer, name)(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    return read


def _parse_prices(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for value in (item.strip() for text in values for item in text.split(",")):
        registry, _, price = value.rpartition("=")
        try:
            number = float(price)
        except ValueError:
            number = math.nan
        if not registry.strip() or not 0 <= number <= MOST_PRICE:
            raise click.BadParameter(
                f"{value[:60]!r} is no price: write REGISTRY=NUMBER, for a gigabyte that goes out of it."
            )
        if prices.setdefault(registry.strip(), number) != number:
            raise click.BadParameter(f"{registry.strip()!r} has two prices.")
    return prices


@click.command(cls=Verb)
@click.option("--plan", "plan_path", required=True, callback=file_name, metavar="FILE", help="The plan (plan --save).")
@click.option(
    "--bench", "bench_path", required=True, callback=file_name, metavar="FILE", help="What was measured (bench --save)."
)
@click.option(
    "--workers", callback=whole_number(1, 1024), metavar="N", help="Worker processes. [default: as a run decides]"
)
@click.option(
    "--streams", callback=whole_number(1, 4096), metavar="N", help="Streams of a worker. [default: as a run decides]"
)
@click.option(
    "--bandwidth", callback=_read_by("parse_link"), metavar="RATE", help="Of the link in each direction: 1Gbit/s."
)
@click.option(
    "--host",
    callback=_read_by("parse_host"),
    metavar="TEXT",
    help="Another host than that of the bench: '8 cores, 10Gbit/s'.",
)
@click.option(
    "--budget",
    callback=_read_by("parse_budget"),
    metavar="BUDGET",
    help="Say with what settings it keeps to a time, and a bandwidth: 8h, or '8h, 200MB/s'; or why nothing does.",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    callback=_parse_prices,
    metavar="REGISTRY=PRICE",
    help="Of a gigabyte (10^9 bytes) that goes out of a registry; several with commas, or given again.",
)
@click.option(
    "--plot",
    callback=file_name,
    metavar="FILE",
    help="Draw the time by workers, hosts and bandwidth, and what would change it, as PNG.",
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
    budget: Budget | None,
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
    workload = image_syncer.workload_of(plan)
    question = image_syncer.Question(
        workload,
        bench.path_of,
        image_syncer.Settings(workers=workers, streams=streams),
        image_syncer.Host(cores, link),
        max(path.spread for path in bench.paths),
    )
    window = None if bench.best is None else bench.best.window
    try:
        answer = EstimateAnswer(question, image_syncer.account_for(plan), prices, budget, window)
    except ValueError as error:
        hint = "Measure again: image-syncer bench --plan FILE --save FILE."
        raise image_syncer.ConfigurationError(f"{bench_path} does not do for this plan: {error}", hint=hint) from None
    say(json.dumps(answer.as_data(), ensure_ascii=False) if as_json else "\n".join(answer.lines()))
    if plot is not None:
        _draw(question, plot, plan_path)
    return 0 if budget is None or answer.fits else EXIT_TOO_LONG


def _draw(question: Question, path: str, plan_path: str) -> None:
    from image_syncer import PartialFile
    from image_syncer_cli.estimate_plot import draw_estimate

    picture = draw_estimate(question, Path(plan_path).name)
    PartialFile.write_all(path, picture, noun="the picture", option="--plot")
