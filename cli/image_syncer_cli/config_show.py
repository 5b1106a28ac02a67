"""`image-syncer config show`: what would be in force, without a run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.options import RunOptions, debug_option, patience_options
from image_syncer_cli.output import printable, say
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.resource_options import RATE_OPTION
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["show"]

_COLUMNS = (
    ("tries", "tries"),
    ("budget_s", "for at most"),
    ("first_pause_s", "first pause"),
    ("factor", "growing by"),
    ("longest_pause_s", "to at most"),
    ("longest_wait_s", "longest Retry-After"),
    ("faults", "after"),
)
_FLAGS = ("insecure", "skip_tls_verify")
_VALUES = ("profile", "ca_file", "max_connections", "pieces_above", "requests_per_s", "rate")


@click.command(cls=Verb, short_help="Tell what is in force: retries, time-outs, registries.")
@auth_option
@click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON.")
@click.option("--config", "both", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@patience_options
@RATE_OPTION
@debug_option
def show(auth: str | None, images: str | None, both: str | None, as_json: bool, **options: object) -> int:
    """Tell what a run with these files and options would have in force.

    The retry policy of each class of operations, the time-outs, and for each registry what is set for it and which
    source its credential comes from, never the secret. Reaches no network, and runs no credential helper.
    """
    import image_syncer

    configuration = image_syncer.Configuration()
    if images is not None or both is not None:
        configuration = image_syncer.load_configuration(config=both, auth=auth, images=images, environ=os.environ)
    elif auth is not None:
        configuration = image_syncer.load_registries(auth, environ=os.environ)
    data = image_syncer.settings_in_force(configuration, RunOptions.from_click(options).build_settings())
    say(json.dumps(data, indent=2) if as_json else "\n".join(map(printable, _lines(data))))
    return 0


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    for name, policy in data["policies"].items():
        yield f"retries of {name}: " + ", ".join(f"{words} {_shown(key, policy[key])}" for key, words in _COLUMNS)
    for name, seconds in data["times"].items():
        yield f"{name.removesuffix('_s').replace('_', ' ')}: {_duration(seconds)}"
    if data["rate"] is not None:
        yield f"rate: {data['rate']}"
    for registry in data["registries"]:
        parts = [name.replace("_", " ") for name in _FLAGS if registry[name]]
        parts += [f"{name} {registry[name]}" for name in _VALUES if registry[name] is not None]
        parts += [f"mirror {mirror}" for mirror in registry["mirrors"]]
        parts += [f"{name} {value}" for name, value in registry["network"].items()]
        yield f"{registry['registry']}: " + ", ".join([f"credential from {_credential(registry)}", *parts])


def _credential(registry: Mapping[str, Any]) -> str:
    source, file = registry["credential"], registry["credential_file"]
    return source if file is None or file in source else f"{source} (named in {file})"


def _shown(key: str, value: Any) -> str:
    if key == "faults":
        return "whatever can pass" if value is None else " or ".join(value)
    if value is None:
        return "any time"
    return _duration(value) if key.endswith("_s") else f"{value:g}"


def _duration(seconds: float) -> str:
    from image_syncer.units import format_duration

    return format_duration(seconds)
