"""The options by which others look on at a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OBSERVER_OPTIONS", "parsed_by"]


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
        "--trace-endpoint",
        metavar="URL",
        help="Send a trace of the run to this OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318. "
        "[default: what OTEL_EXPORTER_OTLP_ENDPOINT says]",
    ),
)
