"""`image-syncer plan`: shows what a sync would copy, and why an image is selected or is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import can_show, json_line, printable, say
from image_syncer_cli.option_values import file_option
from image_syncer_cli.options import VERIFY_OPTIONS, RunOptions, options_in
from image_syncer_cli.shared_options import rule_files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer import Configuration
    from image_syncer.config.explanation import Explanation
    from image_syncer.reporting.plan_account import PlanAccount
    from image_syncer_cli.shared_options import Files


_LABEL = 11
_LARGEST = 5
_SHARED = 3
_REPOSITORIES = 8
_BAR_COLUMNS = 30
_DIGEST_COLUMNS = 19


def summarize_plan(account: PlanAccount) -> Iterator[str]:
    """Yield the lines of the summary, which fits into 80 columns and one screen."""
    for label, text in _facts(account):
        yield f"{label:<{_LABEL}}{text}"
    for title, rows in (
        ("Sizes of the distinct blobs", _histogram(account)),
        ("Largest blobs", _largest(account)),
        ("Most shared blobs", _shared(account)),
        ("Sources", _repositories(account.sources)),
        ("Destinations", _repositories(account.repositories)),
        ("Published limits", _waits(account)),
    ):
        lines = list(rows)
        if lines:
            yield ""
            yield title
            yield from (f"  {line}" for line in lines)


def _facts(account: PlanAccount) -> Iterator[tuple[str, str]]:
    from image_syncer import Outcome
    from image_syncer.units import format_size

    counts = [f"{account.outcomes[outcome]:,} {outcome}" for outcome in Outcome if account.outcomes.get(outcome)]
    yield "Images", f"{sum(account.outcomes.values()):,}" + (f": {', '.join(counts)}" if counts else "")
    distinct, named = format_size(account.bytes_distinct), format_size(account.bytes_named)
    yield "Blobs", f"{account.blobs:,} distinct, {distinct}; counted for each image, {named}"
    yield "To move", f"{format_size(account.bytes_to_move)} in {account.blobs_to_move:,} blobs"
    yield "Not moved", f"{account.blobs_to_mount:,} mounted, {account.blobs_present:,} already there"
    yield "Requests", f"{sum(account.requests.values()):,} in all"
    for registry, kinds in account.requests_of.items():
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda one: -one[1]))
        yield "", f"{printable(registry)}: {told}"


def _histogram(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    block = "█" if can_show("█") else "#"
    most = max((each.blobs for each in account.sizes), default=0)
    for each in account.sizes:
        bound = "more" if each.most_bytes is None else f"up to {format_size(each.most_bytes)}"
        bar = block * -(-each.blobs * _BAR_COLUMNS // most)
        yield f"{bound:>15} {each.blobs:>9,} {bar:<{_BAR_COLUMNS}} {format_size(each.size_bytes):>10}"


def _largest(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    for digest, size in account.largest[:_LARGEST]:
        yield f"{format_size(size):>10}  {printable(digest[:_DIGEST_COLUMNS])}"


def _shared(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    for digest, size, images in account.shared[:_SHARED]:
        yield f"{format_size(size):>10}  {printable(digest[:_DIGEST_COLUMNS])}  in {images:,} images"


def _repositories(found: Mapping[str, Any]) -> Iterator[str]:
    from image_syncer.units import format_size

    shares = sorted(found.items(), key=lambda one: (-one[1].size_bytes, one[0]))
    for name, share in shares[:_REPOSITORIES]:
        size = format_size(share.size_bytes)
        yield f"{size:>10} {share.blobs:>7,} blobs {share.images:>7,} images  {printable(name)}"
    if len(shares) > _REPOSITORIES:
        yield f"and {len(shares) - _REPOSITORIES:,} repositories more"


def _waits(account: PlanAccount) -> Iterator[str]:
    from image_syncer.units import format_duration

    for wait in account.waits():
        least = format_duration(wait.seconds)
        yield f"{printable(wait.registry)}: {wait.count:,} {wait.operations} at {wait.rate}: {least} at least"


EXIT_NOT_SELECTED = 1
_MARKS = {True: "+", False: "-", None: "?"}
_WORDS = {True: "in", False: "out", None: "open"}


@click.command(cls=Verb)
@rule_files
@click.option(
    "--explain", "image", metavar="IMAGE", help="Explain which rules match this image, and why others do not."
)
@click.option("--json", "as_json", is_flag=True, help="With --explain: write one JSON object.")
@file_option(
    "--save",
    help="Write the plan, with every blob and whether the destination has it, to FILE, and summarize it.",
)
@options_in(VERIFY_OPTIONS)
def plan(files: Files, image: str | None, as_json: bool, save: str | None, **options: object) -> int:
    """Show what a sync with these files would copy, as its --dry-run does; or why an image is in or out (--explain).

    With --save, a HEAD request for each blob finds out what the destination already has.

    With --explain, the exit code is 0 if a rule matches the image, and 1 if none does. No registry is asked then,
    except for its list of tags if a rule takes the newest of them.
    """
    files.require_images("plan")
    if as_json and image is None:
        raise click.UsageError("--json goes with --explain; diff --json shows what would change.")
    if save is not None and image is not None:
        raise click.UsageError("--save goes with the whole plan: leave --explain out.")
    configuration = files.load()
    given = RunOptions.from_click(options)
    if image is not None:
        return _explain(configuration, image, given, as_json=as_json)
    from image_syncer_cli.run import run_images

    planned = replace(given.with_settings(dry_run=True, plan_path=save), quiet=given.quiet or save is not None)
    code = run_images(configuration, planned, files.access_words())
    if save is not None and not given.quiet and Path(save).is_file():
        from image_syncer import load_plan
        from image_syncer.reporting.plan_account import account_for

        say("\n".join(summarize_plan(account_for(load_plan(save)))))
    return code


def _explain(configuration: Configuration, image: str, options: RunOptions, *, as_json: bool) -> int:
    import image_syncer
    from image_syncer.coordinator.single_requests import explain
    from image_syncer_cli.run import begin_logs_and_warn

    begin_logs_and_warn(configuration, options)
    with image_syncer.open_places(configuration, writes=False) as opened:
        found = explain(opened, image, options.build_settings())
    say(json_line(_data_of(found)) if as_json else "\n".join(_lines(found)))
    return 0 if found.meant else EXIT_NOT_SELECTED


def _lines(found: Explanation) -> Iterator[str]:
    for verdict in found.verdicts:
        places = ", ".join(verdict.destinations)
        yield f"{_WORDS[verdict.meant]}: {verdict.origin}: {verdict.source}" + (f" → {places}" if places else "")
        yield from (f"  {_MARKS[reason.holds]} {reason.text}" for reason in verdict.reasons)
    meant = sum(verdict.meant is True for verdict in found.verdicts)
    others = f"; {_rules(found.others)} about other repositories" if found.others else ""
    yield f"{found.image} matches {_rules(meant) if meant else 'no rule'}{others}"


def _rules(number: int) -> str:
    return f"{number} rule{'' if number == 1 else 's'}"


def _data_of(found: Explanation) -> dict[str, Any]:
    rules = [
        {
            "rule": verdict.origin,
            "source": verdict.source,
            "meant": verdict.meant,
            "reasons": [{"holds": reason.holds, "text": reason.text} for reason in verdict.reasons],
            "destinations": list(verdict.destinations),
        }
        for verdict in found.verdicts
    ]
    return {"image": found.image, "meant": found.meant, "rules": rules, "other_rules": found.others}
