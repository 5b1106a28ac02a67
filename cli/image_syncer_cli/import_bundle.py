"""`image-syncer import`: a bundle, into a registry behind the gap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.control_options import control_option
from image_syncer_cli.option_choice import options_without
from image_syncer_cli.options import RunOptions
from image_syncer_cli.output import say
from image_syncer_cli.pipeline_options import PIPELINE_NAMES
from image_syncer_cli.registry_options import auth_option, insecure_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import CheckedBundle, Configuration, Report

__all__ = ["import_bundle"]

_TOLD_EVERY_S = 5.0


@click.command("import", cls=Verb)
@click.argument("directory", metavar="BUNDLE_DIR")
@click.argument("former", nargs=-1, metavar="[FORMER_DIR]...")
@click.option("--to", "target", metavar="REGISTRY[/PREFIX]", help="Where the repositories of the bundle go.")
@click.option("--verify-only", is_flag=True, help="Check the bundle, and ask and write nothing.")
@auth_option
@insecure_option
@options_without("trust_state", *PIPELINE_NAMES)
@control_option
def import_bundle(
    directory: str,
    former: tuple[str, ...],
    target: str | None,
    verify_only: bool,
    auth: str | None,
    insecure_hosts: tuple[str, ...],
    **options: object,
) -> int:
    """Copy the bundle in BUNDLE_DIR into a registry, with what refers to its images. Nothing is unpacked.

    Every part is read and its checksum compared before anything is written anywhere. A bundle that was exported against
    former ones needs what these had: at the destination, or in their directories, named after it.
    """
    if target is None and not verify_only:
        raise click.UsageError("say where to: give --to REGISTRY[/PREFIX], or --verify-only.")
    if target is not None and verify_only:
        raise click.UsageError("--verify-only writes nothing: leave --to out.")
    import image_syncer
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.registry_options import read_registries
    from image_syncer_cli.run import prepare_workers, run_images

    given = RunOptions.from_click(options)
    place = None
    if target is not None:
        try:
            place = image_syncer.parse_target(target)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--to") from None
        prepare_workers(given)
    known = read_registries(auth, insecure_hosts)
    tell = (
        (lambda _done, _total: None)
        if given.quiet or given.no_progress
        else _teller(as_json=given.log_format == "json")
    )
    checked = image_syncer.check_bundles(directory, former, on_bytes=tell)
    if not given.quiet or verify_only:
        _say_checked(directory, checked)
    if place is None:
        return 0

    def engine(configuration: Configuration, settings: Any, **calls: Any) -> Report:
        return image_syncer.import_bundle(
            checked, place, settings, known=configuration, all_referrers=given.referrers is None, **calls
        )

    return run_images(known, given, way_words(auth, None, insecure_hosts), engine)


def _teller(*, as_json: bool) -> Callable[[int, int], None]:
    """Says every few seconds how much of a bundle has been read."""
    from image_syncer.units import format_size
    from image_syncer_cli.render import say_json

    next_s = time.monotonic() + _TOLD_EVERY_S

    def tell(done: int, total: int) -> None:
        nonlocal next_s
        now = time.monotonic()
        if now >= next_s:
            next_s = now + _TOLD_EVERY_S
            if as_json:
                say_json("checked", bytes_done=done, bytes_total=total)
            else:
                say(f"checked {format_size(done)} of {format_size(total)}", err=True)

    return tell


def _say_checked(directory: str, checked: CheckedBundle) -> None:
    from image_syncer.units import format_size

    record = checked.record
    needed = len({digest for digests in record.needed().values() for digest in digests})
    say(
        f"{directory}: {len(record.images)} image{'s' * (len(record.images) != 1)} in {len(record.parts)} "
        f"part{'s' * (len(record.parts) != 1)}, {format_size(record.size)}, all as exported {record.created_at}"
        + (f"; {needed} blobs are left out, which a former bundle brings" if needed else "")
    )
