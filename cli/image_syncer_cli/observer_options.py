"""The options by which others look on at a run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer_cli.options import RunOptions

__all__ = ["OBSERVER_OPTIONS", "looked_on", "parsed_by"]


def parsed_by(name: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback for click, which has a function of the engine read the value."""

    def parse(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        import image_syncer

        try:
            return getattr(image_syncer, name)(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    return parse


OBSERVER_OPTIONS = (
    click.option(
        "--metrics",
        callback=parsed_by("parse_listen"),
        metavar="HOST:PORT",
        help="Serve metrics of the run for Prometheus there, at /metrics; a port alone is on 127.0.0.1.",
    ),
    click.option(
        "--metrics-file",
        metavar="FILE",
        help="Write the metrics there when the run ends, for the textfile collector of Prometheus' node exporter.",
    ),
    click.option(
        "--trace-endpoint",
        metavar="URL",
        help="Send a trace of the run to this OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318. "
        "[default: what OTEL_EXPORTER_OTLP_ENDPOINT says]",
    ),
)


@contextlib.contextmanager
def looked_on(options: RunOptions) -> Iterator[None]:
    """`image_syncer.look_on`, as the options want it. Where the metrics are is said if nobody can know that, or others
    than this machine can ask for them.
    """
    wanted = (options.metrics, options.metrics_file, options.trace_endpoint)
    if not any(wanted) and not any(name.startswith("OTEL_") for name in os.environ):
        yield
        return
    import image_syncer
    from image_syncer_cli.output import say
    from image_syncer_cli.render import say_json

    listen = options.metrics
    with image_syncer.look_on(
        metrics=listen, metrics_file=options.metrics_file, traces=options.trace_endpoint, environ=os.environ
    ) as address:
        if listen is not None and (listen.port == 0 or not listen.is_loopback):
            whom = "this machine alone" if listen.is_loopback else "whoever reaches this machine"
            if options.log_format == "json":
                say_json("metrics", address=address, readers=whom)
            else:
                say(f"metrics for {whom}: {address}", err=True)
        yield
