"""`image-syncer import`: copies a bundle into a registry behind the gap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.options import RunOptions, options_without
from image_syncer_cli.shared_options import AUTH_OPTION, INSECURE_OPTION, control_option, file_options
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import Configuration, Report
    from image_syncer_cli.shared_options import Files


_TOLD_EVERY_S = 5.0


@click.command("import", cls=Verb)
@click.argument("directory", metavar="BUNDLE_DIR")
@click.argument("former", nargs=-1, metavar="[FORMER_DIR]...")
@click.option("--to", "target", metavar="REGISTRY[/PREFIX]", help="Destination of the repositories in the bundle.")
@click.option("--verify-only", is_flag=True, help="Check the bundle, and send no request.")
@file_options(AUTH_OPTION, INSECURE_OPTION)
@options_without("--trust-state", "--report-junit", "--report-markdown")
@control_option
def import_bundle(
    directory: str, former: tuple[str, ...], target: str | None, verify_only: bool, files: Files, **options: object
) -> int:
    """Copy the bundle in BUNDLE_DIR into a registry, with the referrers of its images. Nothing is unpacked.

    The checksum of every part is verified before anything is written. A bundle that was exported against former ones
    needs their blobs: at the destination, or in their directories, given after BUNDLE_DIR.
    """
    if target is None and not verify_only:
        raise click.UsageError("say where to: give --to REGISTRY[/PREFIX], or --verify-only.")
    if target is not None and verify_only:
        raise click.UsageError("--verify-only writes nothing: leave --to out.")
    from image_syncer.layout.bundles import check_bundles, parse_target
    from image_syncer.layout.bundles import import_bundle as engine_import_bundle
    from image_syncer_cli.run import prepare_workers, run_images
    from image_syncer_cli.verbs.export import bundle_line

    given = RunOptions.from_click(options)
    place = None
    if target is not None:
        try:
            place = parse_target(target)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--to") from None
        prepare_workers(given)
    known = files.load_registries()
    is_silent = given.quiet or given.no_progress
    tell = (lambda _done, _total: None) if is_silent else _teller(as_json=given.as_json)
    checked = check_bundles(directory, former, on_bytes=tell)
    if not given.quiet or verify_only:
        record = checked.record
        left_out = len({digest for digests in record.needed().values() for digest in digests})
        say(bundle_line(directory, record, left_out=left_out, note=f", all as exported {record.created_at}"))
    if place is None:
        return 0

    def engine(configuration: Configuration, settings: Any, **calls: Any) -> Report:
        return engine_import_bundle(
            checked,
            place,
            settings,
            known=configuration,
            all_referrers=given.settings["referrers"] is None,
            **calls,
        )

    return run_images(known, given, files.access_words(), engine)


def _teller(*, as_json: bool) -> Callable[[int, int], None]:
    """Return a function that says every few seconds how much of a bundle has been read."""
    from image_syncer.units import format_size
    from image_syncer_cli.display.render import say_event

    next_s = time.monotonic() + _TOLD_EVERY_S

    def tell(done: int, total: int) -> None:
        nonlocal next_s
        now = time.monotonic()
        if now >= next_s:
            next_s = now + _TOLD_EVERY_S
            text = f"checked {format_size(done)} of {format_size(total)}"
            say_event("checked", text, as_json=as_json, bytes_done=done, bytes_total=total)

    return tell
