"""`image-syncer export`: copies what the user's files say into a bundle that can be carried over a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.option_values import size_option
from image_syncer_cli.options import RunOptions, options_without
from image_syncer_cli.shared_options import control_option, rule_files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import Configuration, Report
    from image_syncer.layout.bundles import Export
    from image_syncer_cli.shared_options import Files


_MIN_PART_BYTES = 2**20


@click.command(cls=Verb)
@click.argument("directory", metavar="BUNDLE_DIR")
@rule_files
@size_option(
    *("--part-size", "part_bytes"),
    help="Maximum size of a part, e.g. 700MiB. [default: 1 MiB less than 4 GiB, the limit of FAT32]",
)
@click.option(
    "--against",
    multiple=True,
    metavar="FORMER",
    help="Leave out the blobs of this former bundle (its directory, or its bundle.json); can be repeated.",
)
# A bundle is its own journal, and begins with nothing that could conflict.
@options_without("--state", "--trust-state", "--force", "--on-conflict")
@control_option
def export(directory: str, files: Files, part_bytes: int | None, against: tuple[str, ...], **options: object) -> int:
    """Copy the images that the files name into a bundle in BUNDLE_DIR: parts of one OCI archive, with checksums.

    In the bundle, images have the repository and the tag of their destinations; `import` says into which registry they
    go. Run an interrupted export again to resume it.
    """
    files.require_images("export")
    if part_bytes is not None and part_bytes < _MIN_PART_BYTES:
        raise click.BadParameter("a part has at least 1 MiB.", param_hint="--part-size")
    from image_syncer.layout.bundles import export_bundle
    from image_syncer_cli.run import prepare_workers, run_images

    given = RunOptions.from_click(options)
    prepare_workers(given)
    configuration = files.load()
    done: list[Export] = []

    def engine(configuration: Configuration, settings: Any, **calls: Any) -> Report:
        how: dict[str, Any] = {} if part_bytes is None else {"part_bytes": part_bytes}
        done.append(export_bundle(configuration, settings, directory, against=against, **how, **calls))
        return done[0].report

    exit_code = run_images(configuration, given, files.access_words(), engine)
    if not given.dry_run:
        _say_bundle(directory, done[0], as_json=given.as_json)
    return exit_code


def _say_bundle(directory: str, done: Export, *, as_json: bool) -> None:
    from image_syncer_cli.display.render import say_event

    record = done.bundle
    if record is None:
        text = f"{directory} is no bundle yet. Run the same export again: what has come is kept."
        say_event("no bundle yet", text, as_json=as_json, directory=directory, message=text)
        return
    say(bundle_line(directory, record, left_out=sum(offset is None for _, offset in record.blobs.values())))


def bundle_line(directory: str, record: Any, *, left_out: int, note: str = "") -> str:
    """Return what is in a bundle, in one line; `left_out` counts the blobs that are in former bundles."""
    from image_syncer.units import format_size

    return (
        f"{directory}: {len(record.images)} image{'s' * (len(record.images) != 1)} in {len(record.parts)} "
        f"part{'s' * (len(record.parts) != 1)}, {format_size(record.size)}{note}"
        + (f"; {left_out} blobs are left out, which a former bundle brings" if left_out else "")
    )
