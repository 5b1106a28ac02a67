"""`image-syncer config`: checks, shows and converts configuration files, and prints the schema of their format."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import printable, say
from image_syncer_cli.option_values import add_options
from image_syncer_cli.options import PATIENCE_OPTIONS, RATE_OPTION, RunOptions, debug_option, quiet_debug_option
from image_syncer_cli.shared_options import Files, rule_files
from image_syncer_cli.verb import Verb, VerbGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from image_syncer import Configuration, Problem
    from image_syncer.config.converters.conversion import Conversion


_FORMATS = ("auto", "go", "regsync", "skopeo", "dregsy")
_PRIVATE = 0o077
"""The umask of a file with passwords."""


@click.command(cls=Verb, short_help="Convert files of the Go tool, regsync, skopeo sync or dregsy.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--auth", metavar="FILE", help="Registries: an auth file of the Go tool.")
@click.option("--images", metavar="FILE", help="What to copy where: an images file of the Go tool.")
@click.option(
    "--from", "source_format", metavar="TOOL", type=click.Choice(_FORMATS), default="auto", help="The tool of FILE."
)
@click.option("--to", metavar="REGISTRY[/PATH]", help="Destination of the images in skopeo's file, which has none.")
@click.option("--scoped", is_flag=True, help="Keep full names below it, as skopeo's --scoped does.")
@click.option("--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--with-secrets", is_flag=True, help="Copy passwords instead of referring to variables.")
@quiet_debug_option
def convert(  # noqa: PLR0913 - one parameter an option
    file: str | None,
    auth: str | None,
    images: str | None,
    *,
    source_format: str,
    to: str | None,
    scoped: bool,
    output: str | None,
    with_secrets: bool,
) -> int:
    """Convert FILE, or the two files of the Go tool, to a file in image-syncer's own format (`version: 2`).

    What has no counterpart is reported with its line, and kept as a comment. The exit code is 1 if a rule was left
    out, 2 if a file cannot be read.
    """
    from image_syncer.config.converters.conversion import FileFormat, convert_files
    from image_syncer.config.converters.draft import ConversionOptions

    folder = None if output is None else os.path.dirname(output)  # noqa: PTH120 - Path has no empty folder
    done = convert_files(
        file=file,
        auth=auth,
        images=images,
        source_format=None if source_format == "auto" else FileFormat(source_format),
        options=ConversionOptions(to=to, scoped=scoped, with_secrets=with_secrets, folder=folder),
    )
    if output is None:
        say(done.text.removesuffix("\n"))
    else:
        _write(output, done.text, [path for path in (file, auth, images) if path is not None], is_private=with_secrets)
    for warning in done.warnings:
        say(f"warning: {warning}", err=True)
    for secret in done.secrets:
        say(f"set {secret.name}: {secret.what}", err=True)
    say(_describe_conversion(done), err=True)
    return 1 if done.left_out else 0


def _write(output: str, text: str, inputs: list[str], *, is_private: bool) -> None:
    from image_syncer.telemetry.partial_file import PartialFile

    if any(os.path.realpath(path) == os.path.realpath(output) and Path(path).exists() for path in inputs):
        raise click.UsageError(f"{output} is a file that is converted: give --output another name.")
    mask = os.umask(_PRIVATE) if is_private else None
    try:
        written = PartialFile(output, noun="the new file", option="--output")
        try:
            written.write(text.encode())
            written.commit()
        except BaseException:
            written.abandon()
            raise
    finally:
        if mask is not None:
            os.umask(mask)


def _describe_conversion(done: Conversion) -> str:
    parts = [f"from {done.tool}", f"{done.rules} rule{'' if done.rules == 1 else 's'}"]
    if done.left_out:
        parts.append(f"{done.left_out} left out")
    parts.append(_count(len(done.warnings), "warning"))
    return " · ".join(parts)


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


@click.command(cls=Verb, short_help="Show the effective configuration: retries, timeouts, registries.")
@rule_files
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@partial(add_options, options=(*PATIENCE_OPTIONS, RATE_OPTION, debug_option))
def show(files: Files, as_json: bool, **options: object) -> int:
    """Show the effective configuration of a run with these files and options.

    The retry policy of each class of operations, the timeouts, and for each registry its settings and the source of
    its credential, never the secret. Uses no network, and runs no credential helper.
    """
    import image_syncer
    from image_syncer.coordinator.single_requests import settings_in_force

    configuration = image_syncer.Configuration() if files == Files() else _load(files)
    data = settings_in_force(configuration, RunOptions.from_click(options).build_settings())
    say(json.dumps(data, indent=2) if as_json else "\n".join(map(printable, _lines(data))))
    return 0


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    from image_syncer.units import format_duration

    for name, policy in data["policies"].items():
        yield f"retries of {name}: " + ", ".join(f"{words} {_shown(key, policy[key])}" for key, words in _COLUMNS)
    for name, seconds in data["times"].items():
        yield f"{name.removesuffix('_s').replace('_', ' ')}: {format_duration(seconds)}"
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
    from image_syncer.units import format_duration

    if key == "faults":
        return "whatever can pass" if value is None else " or ".join(value)
    if value is None:
        return "any time"
    return format_duration(value) if key.endswith("_s") else f"{value:g}"


def _load(files: Files) -> Configuration:
    """Return the configuration, without rules where only --auth was given."""
    from image_syncer import load_registries

    if files.auth is not None and files.images is None and files.config is None:
        return load_registries(files.auth, environ=os.environ)
    return files.load()


@click.command(cls=Verb, short_help="Print the JSON schema of image-syncer's own format, for editors.")
@click.option("--path", "as_path", is_flag=True, help="Print its path on this machine instead.")
@quiet_debug_option
def schema(as_path: bool) -> None:
    """Print the JSON schema (draft 2020-12) of files with `version: 2`.

    Editors with a YAML language server find it by a comment at the top of a file:
    # yaml-language-server: $schema=PATH
    """
    from image_syncer.config.schema import schema_path, schema_text

    say(str(schema_path()) if as_path else schema_text().removesuffix("\n"))


@click.group(cls=VerbGroup)
def config() -> None:
    """Check files, show the effective configuration, convert files of other tools. Nothing is copied."""


@config.command(short_help="Report every mistake in the files at once.")
@rule_files
@quiet_debug_option
def check(files: Files) -> int:
    """Report every mistake in the files at once: file, line, key, what is wrong, what to write instead.

    Uses no network. The exit code is 2 if there is a mistake, 0 if there are only warnings.
    """
    if files == Files():
        raise click.UsageError("nothing to check: give --auth FILE and --images FILE, or --config FILE.")
    from image_syncer import ConfigurationError

    try:
        configuration = _load(files)
    except ConfigurationError as error:
        if not error.problems:
            raise
        for problem in error.problems:
            say(str(problem))
        for line in _explained(error.problems):
            say(line)
        # The loader reports warnings among the mistakes, and marks them.
        warnings = sum(problem.what.startswith("warning: ") for problem in error.problems)
        say(f"{_count(len(error.problems) - warnings, 'problem')} · {_count(warnings, 'warning')}")
        return error.exit_code
    for warning in configuration.warnings:
        say(f"warning: {warning}")
    say(_describe(configuration))
    return 0


def _explained(problems: Sequence[Problem]) -> list[str]:
    """Return what the schema says of the keys with mistakes."""
    from image_syncer.config.schema import describe_key

    found = [describe_key(problem.key) for problem in problems if problem.key]
    return [f"  {one[0]}: {one[1]}" for one in dict.fromkeys(found) if one is not None]


def _describe(configuration: Configuration) -> str:
    rules = len(configuration.rules) + len(configuration.catalogs)
    destinations = sum(len(rule.destinations) for rule in configuration.rules)
    destinations += sum(len(rule.destinations) for rule in configuration.catalogs)
    parts = [
        _count(0, "problem"),
        _count(len(configuration.warnings), "warning"),
        f"{_count(rules, 'rule')} to {_count(destinations, 'destination')}",
    ]
    if policies := len(configuration.policies):
        parts.append("1 policy" if policies == 1 else f"{policies} policies")
    return " · ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


for _verb in (show, convert, schema):
    config.add_command(_verb)
