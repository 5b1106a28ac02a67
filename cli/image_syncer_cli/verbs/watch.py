"""`image-syncer watch`: syncs again and again, until a signal ends it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_values import duration_option, file_option, number_option, parsed_by
from image_syncer_cli.options import RunOptions, options_without
from image_syncer_cli.shared_options import (
    control_option,
    make_control,
    notify_options,
    read_text,
    read_webhooks,
    rule_files,
)
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer.watch.webhooks import Webhook
    from image_syncer_cli.shared_options import Files


_MIN_TOKEN_CHARACTERS = 16
_TOKEN_VARIABLE = "IMAGE_SYNCER_EVENTS_TOKEN"  # noqa: S105 - the name of a variable, and no password


@click.command(cls=Verb)
@rule_files
@click.option(
    "--every",
    required=True,
    metavar="WHEN",
    help='Interval between rounds (10m), or a cron expression in local time ("*/10 * * * *").',
)
@duration_option(
    "--jitter",
    zero=True,
    help="Maximum random delay of each round; 0: none. [default: a tenth of an interval, at most 1m]",
)
@number_option(
    "--rest",
    default="6",
    show_default=True,
    metavar="ROUNDS",
    help="Check repositories in which nothing changes less often, but once in so many rounds; 1: in each round.",
)
@click.option(
    "--listen",
    callback=parsed_by("parse_listen", module="telemetry.http_server"),
    metavar="HOST:PORT",
    help="Serve /healthz, /readyz and /metrics at this address, and take notifications of pushes (POST /notify).",
)
@file_option(
    "--events-token-file",
    help=f"Token that notifications must have, where other machines can send them. [{_TOKEN_VARIABLE}]",
)
@notify_options
@options_without("--dry-run", "--metrics", "--metrics-file", "--report-junit", "--report-markdown")
@control_option
def watch(  # noqa: PLR0913 - one parameter an option
    *,
    files: Files,
    every: str,
    jitter: float | None,
    rest: int,
    listen: Any,
    events_token_file: str | None,
    webhooks: tuple[Webhook, ...],
    notify_file: str | None,
    notify_when: str,
    **options: object,
) -> int:
    """Sync what the files name, round after round, so that changes at the sources arrive without a restart.

    SIGHUP reads the files again, SIGTERM ends the watch; `image-syncer top` shows, pauses and drains it. Every round
    is a run of sync, with its options: --deadline limits each round, and each replaces the file of --report ({time}
    in its name is the time at which the round began).
    """
    files.require_images("copy")
    given = RunOptions.from_click(options)
    import image_syncer
    from image_syncer.telemetry.looking_on import look_on
    from image_syncer.watch.orders import WatchSettings
    from image_syncer.watch.schedule import local_zone, parse_schedule
    from image_syncer.watch.watcher import run_watch
    from image_syncer.watch.webhooks import NotifyWhen
    from image_syncer_cli.display.watch_view import CommandView
    from image_syncer_cli.run import begin_logs, tune_garbage_collection

    try:
        schedule = parse_schedule(every, zone=local_zone(os.environ), jitter_s=jitter)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--every'") from None
    begin_logs(given)
    settings = WatchSettings(
        schedule,
        rest=rest,
        listen=listen,
        events_token=_read_token(events_token_file),
        webhooks=read_webhooks(webhooks, notify_file),
        notify_when=NotifyWhen(notify_when),
    )
    tune_garbage_collection()
    control = make_control(given.control)
    view = CommandView(given, files.access_words(), control)
    with look_on(traces=given.trace_endpoint, environ=os.environ):
        version = image_syncer.__version__
        made = given.build_settings()
        return run_watch(files.load, made, settings, view=view, version=version, control=control)


def _read_token(path: str | None) -> str | None:
    from image_syncer.errors import ConfigurationError, keep_out

    token = os.environ.get(_TOKEN_VARIABLE, "") if path is None else read_text(path, "--events-token-file")
    token = token.strip()
    if not token and path is None:
        return None
    if len(token) < _MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        origin = path or _TOKEN_VARIABLE
        raise ConfigurationError(
            f"what {origin} has is no token of {_MIN_TOKEN_CHARACTERS} characters or more without spaces",
            hint="Make one with `openssl rand -hex 32`.",
        )
    keep_out(token)
    return token
