"""`image-syncer watch`: syncs again and again, until a signal ends it."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.control_options import control_option, make_control
from image_syncer_cli.notify_options import notify_options, read_text, read_webhooks
from image_syncer_cli.observer_options import parsed_by
from image_syncer_cli.option_choice import options_without
from image_syncer_cli.option_values import file_name, parse_duration_or_none, whole_number
from image_syncer_cli.options import RunOptions
from image_syncer_cli.pipeline_options import PIPELINE_NAMES
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import Webhook

__all__ = ["watch"]

LEAST_TOKEN_CHARS = 16
TOKEN_VARIABLE = "IMAGE_SYNCER_EVENTS_TOKEN"  # noqa: S105 - the name of a variable, and no password


@click.command(cls=Verb)
@auth_option
@click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON: the file that sync has.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option(
    "--every",
    required=True,
    metavar="WHEN",
    help='A round every so often (10m), or at the times of a cron expression in local time ("*/10 * * * *").',
)
@click.option(
    "--jitter",
    callback=parse_duration_or_none,
    metavar="DURATION",
    help="Begin each round up to so much later, by chance; 0: never. [default: a tenth of an interval, at most 1m]",
)
@click.option(
    "--rest",
    callback=whole_number(1),
    default="6",
    show_default=True,
    metavar="ROUNDS",
    help="Look at repositories in which nothing changes less and less often, but once in so many rounds; 1: in each.",
)
@click.option(
    "--listen",
    callback=parsed_by("parse_listen"),
    metavar="HOST:PORT",
    help="Answer there: /healthz, /readyz, /metrics, and POST /notify, by which registries tell of pushes.",
)
@click.option(
    "--events-token-file",
    callback=file_name,
    metavar="FILE",
    help=f"The token that notifications have to bring, where not only this machine can send them. [{TOKEN_VARIABLE}]",
)
@notify_options
@options_without("dry_run", "metrics", "metrics_file", *PIPELINE_NAMES)
@control_option
def watch(
    *,
    auth: str | None,
    images: str | None,
    config: str | None,
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
    """Sync what the files name, again and again: what changed at the sources arrives without a restart.

    SIGHUP has the files read again, SIGTERM ends it; `image-syncer top` shows it, pauses and drains it. Every round is
    a run of sync, with its options; --deadline bounds each run, and --report is written anew by each ({time} in its
    name is when it began).
    """
    if images is None and config is None:
        raise click.UsageError("nothing to copy: give --images FILE (and --auth FILE), or --config FILE.")
    given = RunOptions.from_click(options)
    import image_syncer
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.run import COLLECT_AFTER_OBJECTS, begin_logs
    from image_syncer_cli.watch_view import CommandView

    try:
        schedule = image_syncer.parse_schedule(every, zone=image_syncer.local_zone(os.environ), jitter_s=jitter)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--every'") from None
    begin_logs(given)
    settings = image_syncer.WatchSettings(
        schedule,
        rest=rest,
        listen=listen,
        events_token=_read_token(events_token_file),
        webhooks=read_webhooks(webhooks, notify_file),
        notify_when=image_syncer.NotifyWhen(notify_when),
    )

    def load() -> image_syncer.Configuration:
        return image_syncer.load_configuration(config=config, auth=auth, images=images, environ=os.environ)

    gc.freeze()  # what was imported stays, and need not be looked at after each round
    gc.set_threshold(COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])
    control = make_control(given.control)
    view = CommandView(given, way_words(auth, config), control)
    with image_syncer.look_on(traces=given.trace_endpoint, environ=os.environ):
        version = image_syncer.__version__
        made = given.build_settings()
        return image_syncer.run_watch(load, made, settings, view=view, version=version, control=control)


def _read_token(path: str | None) -> str | None:
    from image_syncer.errors import ConfigurationError, keep_out

    token = os.environ.get(TOKEN_VARIABLE, "") if path is None else read_text(path, "--events-token-file")
    token = token.strip()
    if not token and path is None:
        return None
    if len(token) < LEAST_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"what {path or TOKEN_VARIABLE} has is no token of {LEAST_TOKEN_CHARS} characters or more without spaces",
            hint="Make one with `openssl rand -hex 32`.",
        )
    keep_out(token)
    return token
