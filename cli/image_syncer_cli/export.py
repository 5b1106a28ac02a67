"""`image-syncer export`: what the user's files say, into a bundle that can be carried over a gap."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.control_options import control_option
from image_syncer_cli.option_choice import options_without
from image_syncer_cli.option_values import parse_size_option
from image_syncer_cli.options import RunOptions
from image_syncer_cli.output import say
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import Configuration, Export, Report

__all__ = ["export"]

_LEAST = 2**20
_LEFT_OUT = ("state", "trust_state", "force", "on_conflict")
"""A bundle is its own journal, and has nothing to begin with that could be in conflict."""


@click.command(cls=Verb)
@click.argument("directory", metavar="BUNDLE_DIR")
@auth_option
@click.option("--images", metavar="FILE", help="What to export, YAML or JSON: the file that sync has.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option(
    "--part-size",
    "part_bytes",
    metavar="SIZE",
    callback=parse_size_option,
    help="Most bytes of a part, such as 700MiB. [default: 1 MiB less than 4 GiB, which FAT32 takes]",
)
@click.option(
    "--against",
    multiple=True,
    metavar="FORMER",
    help="Leave out the blobs that this former bundle has (its directory, or its bundle.json); may be given again.",
)
@options_without(*_LEFT_OUT)
@control_option
def export(
    directory: str,
    auth: str | None,
    images: str | None,
    config: str | None,
    part_bytes: int | None,
    against: tuple[str, ...],
    **options: object,
) -> int:
    """Copy what the files name into a bundle in BUNDLE_DIR: parts of one OCI archive, with checksums.

    Images have the repository and the tag in it that they have at the destinations of the rules; `import` says into
    which registry they go. An export that was cut off goes on when it is run again.
    """
    if images is None and config is None:
        raise click.UsageError("nothing to export: give --images FILE (and --auth FILE), or --config FILE.")
    if part_bytes is not None and part_bytes < _LEAST:
        raise click.BadParameter("a part has at least 1 MiB.", param_hint="--part-size")
    import image_syncer
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.run import prepare_workers, run_images

    given = RunOptions.from_click(options)
    prepare_workers(given)
    configuration = image_syncer.load_configuration(config=config, auth=auth, images=images, environ=os.environ)
    done: list[Export] = []

    def engine(configuration: Configuration, settings: Any, **calls: Any) -> Report:
        how: dict[str, Any] = {} if part_bytes is None else {"part_bytes": part_bytes}
        done.append(image_syncer.export_bundle(configuration, settings, directory, against=against, **how, **calls))
        return done[0].report

    exit_code = run_images(configuration, given, way_words(auth, config), engine)
    if not given.dry_run:
        _say_bundle(directory, done[0], as_json=given.log_format == "json")
    return exit_code


def _say_bundle(directory: str, done: Export, *, as_json: bool) -> None:
    from image_syncer.units import format_size
    from image_syncer_cli.render import say_json

    record = done.bundle
    if record is None:
        text = f"{directory} is no bundle yet. Run the same export again: what has come is kept."
        if as_json:
            say_json("no bundle yet", directory=directory, message=text)
        else:
            say(text, err=True)
        return
    left_out = sum(offset is None for _, offset in record.blobs.values())
    say(
        f"{directory}: {len(record.images)} image{'s' * (len(record.images) != 1)} in {len(record.parts)} "
        f"part{'s' * (len(record.parts) != 1)}, {format_size(record.size)}"
        + (f"; {left_out} blobs are left out, which a former bundle brings" if left_out else "")
    )
