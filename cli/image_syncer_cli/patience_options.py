"""The options that say how patient a run is: retries and time-outs."""

from __future__ import annotations

import click

from image_syncer_cli.option_values import parse_duration_option, whole_number

__all__ = ["PATIENCE_OPTIONS"]

_MOST_RETRIES = 1000
"""With the longest pauses, some hours of trying."""

PATIENCE_OPTIONS = (
    click.option(
        "-r",
        "--retries",
        callback=whole_number(0, _MOST_RETRIES),
        default="2",
        show_default=True,
        metavar="N",
        help="Further tries after the first.",
    ),
    click.option(
        "--retry-for",
        callback=parse_duration_option,
        metavar="DURATION",
        help="Begin no further try later than this after the first failure. [default: 30m]",
    ),
    click.option(
        "--give-up-after",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a registry that is down is waited for, while others are served. [default: 10m]",
    ),
    click.option(
        "--connect-timeout",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a connection may take, with name and TLS. [default: 15s]",
    ),
    click.option(
        "--stall-timeout",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a side may be silent while it is its turn. [default: 60s]",
    ),
    click.option(
        "--answer-timeout",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a destination may take to commit a blob of which it has every byte. [default: 5m]",
    ),
)
"""In the order in which `--help` shows them."""
