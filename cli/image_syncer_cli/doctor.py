"""`image-syncer doctor HOST[/REPO]`: what is wrong with a registry, or with the way to it, and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_choice import doctor_options
from image_syncer_cli.output import say
from image_syncer_cli.registry_options import auth_option, insecure_option, read_registries
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import Settings

__all__ = ["doctor"]

_DURATIONS = {
    "connect_timeout": "connect_timeout_s",
    "stall_timeout": "stall_timeout_s",
    "answer_timeout": "answer_timeout_s",
    "deadline": "deadline_s",
}
"""The options that say how long is waited, and the names of what they are in the settings."""


@click.command(cls=Verb)
@click.argument("subject", metavar="HOST[/REPO]")
@auth_option
@click.option("--config", metavar="FILE", help="The file with both parts, instead of --auth.")
@insecure_option
@click.option(
    "--write",
    is_flag=True,
    help="Try uploads in every form, a tag and deletes in REPO, and take away what was made.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output.")
@doctor_options
def doctor(
    subject: str,
    auth: str | None,
    config: str | None,
    insecure_hosts: tuple[str, ...],
    write: bool,
    as_json: bool,
    **options: object,
) -> int:
    """Look at a registry step by step, as a run would meet it: name, connection, proxy, certificate, clock, login,
    rights, and what can be read. With --write, what can be written too.

    A REPO without a HOST is one of Docker Hub. A tag may be named: HOST/REPO:TAG. Without --write nothing is written.
    The exit code is 1 where something is broken.
    """
    from image_syncer import configure_logging, examine

    configure_logging(level="debug" if options.get("debug") else "warning")
    registries = read_registries(auth, insecure_hosts, config).registries
    settings = _build_settings(options)
    if as_json:
        examination = examine(subject, registries, settings, write=write)
        say(json.dumps(examination.as_data(), ensure_ascii=False, indent=2, default=str))
        return examination.exit_code
    from image_syncer_cli.checklist import Checklist

    checklist = Checklist()
    examination = examine(subject, registries, settings, write=write, on_check=checklist.tell)
    checklist.conclude(examination)
    return examination.exit_code


def _build_settings(options: dict[str, Any]) -> Settings:
    from image_syncer import Settings

    given = {_DURATIONS[name]: value for name, value in options.items() if name in _DURATIONS and value is not None}
    return Settings(**given)
