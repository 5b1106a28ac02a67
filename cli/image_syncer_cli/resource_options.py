"""The options that say how much of the machine a run uses."""

from __future__ import annotations

import click

from image_syncer_cli.option_values import parse_any_size, parse_rate_option, parse_size_option, whole_number

__all__ = ["RATE_OPTION", "RESOURCE_OPTIONS"]

_MOST_WORKERS = 1024
"""More processes than any machine for which this is the right tool has CPUs."""
_MOST_STREAMS = 4096
"""More than one process can feed; each has two connections and four open files."""
_MOST_BLOBS = 1_000_000_000
"""More than any machine has memory for."""
_MOST_LAG_S = 30 * 86400
"""Stands for ever."""

RATE_OPTION = click.option(
    "--rate",
    callback=parse_rate_option,
    metavar="RATE",
    help="Most bytes a second, e.g. 200MB/s; by time of day: mon-fri 08:00-18:00=50MB/s,500MB/s. [default: no limit]",
)

RESOURCE_OPTIONS = (
    RATE_OPTION,
    click.option(
        "-p",
        "--proc",
        callback=whole_number(1),
        metavar="N",
        help="Most blobs in flight, over all workers. [default: no such bound]",
    ),
    click.option(
        "--workers",
        callback=whole_number(1, _MOST_WORKERS),
        metavar="N",
        help="Worker processes. [default: as many as there is work for, up to the CPUs this process may use and to 8]",
    ),
    click.option(
        "--streams",
        callback=whole_number(1, _MOST_STREAMS),
        metavar="N",
        help="Most blobs that one worker streams at a time; as many are used as pay. [default: 16]",
    ),
    click.option(
        "--window",
        callback=parse_size_option,
        metavar="SIZE",
        help="Memory between source and destination of one blob, e.g. 1MiB.",
    ),
    click.option(
        "--small-blobs",
        callback=parse_any_size,
        metavar="SIZE",
        help="Take blobs up to this size as a whole, many at a time, beside the streams; 0: none. [default: 1MiB]",
    ),
    click.option(
        "--memory",
        callback=parse_size_option,
        metavar="SIZE",
        help="Ceiling for all windows and buffers together. [default: 512MiB, or a quarter of the cgroup's if less]",
    ),
    click.option(
        "--blobs-in-memory",
        callback=whole_number(1, _MOST_BLOBS),
        default="500000",
        show_default=True,
        metavar="N",
        help="Blobs to remember in memory (125 bytes each); more go to a temporary file.",
    ),
    click.option(
        "--fan-out-lag",
        callback=whole_number(1, _MOST_LAG_S),
        default="10",
        show_default=True,
        metavar="SECONDS",
        help="How long a blob's other destinations wait for the slowest before it gets a download of its own.",
    ),
)
"""In the order in which `--help` shows them."""
