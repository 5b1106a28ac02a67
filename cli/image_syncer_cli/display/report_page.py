"""`report --html`: one page, without a script, on what a run did, where its time went, and what to do.

Its size is bounded: it is as large for a million images as for a thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer_cli.display.figures import HATCHES, draw_svg, figures_of, workers_of
from image_syncer_cli.display.pages import escape, page, section, table, tile
from image_syncer_cli.display.timeline_words import add_waits, began, percent, plural, ring_transfers, transfer_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from image_syncer import PlanFile, RecordedReport, Report, TransferRecord
    from image_syncer.reporting.report_comparison import EstimateFile
    from image_syncer.reporting.run_account import RunAccount
    from image_syncer_cli.display.figures import Figure


_NOT_PLANNED = frozenset({"get token", "list tags", "list repositories", "ping"})
"""Requests that a plan does not count: they depend on the files and on logins, not on images."""


def forecast_rows(
    report: Report, plan: PlanFile | None, estimate: EstimateFile | None
) -> list[tuple[str, str, str, str]]:
    """Return rows of what, planned, done and difference."""
    return [*(_planned(report, plan) if plan is not None else ()), *(_estimated(report, estimate) if estimate else ())]


def _planned(report: Report, plan: PlanFile) -> list[tuple[str, str, str, str]]:
    from image_syncer import Outcome
    from image_syncer.reporting.plan_account import account_for
    from image_syncer.units import format_size

    account, totals = account_for(plan), report.totals
    count = "{:,.0f}".format
    kinds = sorted((set(account.requests) | set(totals.requests)) - _NOT_PLANNED)
    planned = {kind: account.requests.get(kind, 0) for kind in kinds}
    done = {kind: totals.requests.get(kind, 0) for kind in kinds}
    return [
        _row("images to copy", account.images, totals.outcomes.get(Outcome.COPIED, 0), count),
        _row("bytes to move", account.bytes_to_move, totals.bytes_moved, format_size),
        _row("blobs to move", account.blobs_to_move, totals.blobs_moved, count),
        _row("blobs to mount", account.blobs_to_mount, totals.blobs_mounted, count),
        _row("requests", sum(planned.values()), sum(done.values()), count),
        *(_row(f"  {kind}", planned[kind], done[kind], count) for kind in kinds[:20]),
    ]


def _estimated(report: Report, estimate: EstimateFile) -> Iterator[tuple[str, str, str, str]]:
    from image_syncer.units import format_duration, format_size

    yield _row("time", estimate.seconds, report.seconds, format_duration)
    kept = "kept" if report.seconds <= estimate.p90_s else "not kept"
    yield "time, nine of ten within", format_duration(estimate.p90_s), format_duration(report.seconds), kept
    usage = report.usage
    names = ("coordinator_cpu_s", "workers_cpu_s")
    if all(name in usage for name in names):
        yield _row("processor time", estimate.cpu_s, sum(usage[name] for name in names), format_duration)
    workers = report.settings.get("workers")
    if isinstance(workers, int) and "coordinator_peak_bytes" in usage and "worker_peak_bytes" in usage:
        most = usage["coordinator_peak_bytes"] + workers * usage["worker_peak_bytes"]
        yield _row("memory, at most", estimate.memory_bytes, most, format_size)


def _row(what: str, planned: float, done: float, tell: Callable[[float], str]) -> tuple[str, str, str, str]:
    if planned == done:
        return what, tell(planned), tell(done), "as planned"
    sign = "+" if done > planned else "−"
    share = f" ({percent(abs(done - planned) / planned)})" if planned else ""
    return what, tell(planned), tell(done), f"{sign}{tell(abs(done - planned))}{share}"


def verdict(report: Report) -> tuple[bool, str]:
    """Return whether all is well, and a sentence on how the run went."""
    from image_syncer import Outcome

    outcomes = report.totals.outcomes
    images, failed = report.totals.images, sum(count for one, count in outcomes.items() if one.is_failure)
    if report.internal_error is not None:
        return False, f"✗ An internal error of image-syncer: do not rely on this run. {report.internal_error}"
    if report.interrupted is not None:
        missing = f"{failed:,} of {images:,} images are missing"
        return False, f"✗ Ended before all was done ({report.interrupted}): {missing}."
    if failed and report.kind == "verify":
        return False, f"✗ {failed:,} of {images:,} images differ, or could not be checked."
    if failed:
        return False, f"✗ {failed:,} of {images:,} images did not arrive. Their causes, and what to do, are below."
    if report.exit_code:
        return False, f"✗ The run ended with exit code {report.exit_code}."
    planned, skipped = outcomes.get(Outcome.PLANNED, 0), outcomes.get(Outcome.SKIPPED, 0)
    if planned:
        return True, f"✓ Nothing was copied, as asked: {planned:,} of {images:,} images would be."
    if not images:
        return True, "✓ Nothing failed; there was no image."
    if report.kind == "prune":
        return True, "✓ Nothing failed."
    if skipped:
        there = f"{images - skipped:,} of {images:,} images are at their destinations as they are at their sources"
        return True, f"✓ {there}; {skipped:,} skipped."
    if images == 1:
        return True, "✓ The one image is at its destination as it is at its source."
    return True, f"✓ All {images:,} images are at their destinations as they are at their sources."


_MOUNTED = "the destination took the blob from another of its repositories"
_SHARED = "downloads that were saved, because one served several destinations"
_FOOTER = (
    "<footer>Times are seconds since the run began. What a transfer moved is spread evenly over its time.</footer>"
)
_CARDS = 6
"""Causes with details; the next ones are in a table."""
_MAX_GROUPS = 20
_MAX_ROWS = 25
_MAX_NAMES = 3
_DIGEST = 12
"""Hexadecimal digits of a digest that are shown."""
_REASON = 300
"""Characters of the reason of an example."""


def draw_report_page(
    recorded: RecordedReport, name: str, plan: PlanFile | None = None, estimate: EstimateFile | None = None
) -> bytes:
    """Return the page, in UTF-8. `name` is that of the report's file; it is compared with `plan` and `estimate`."""
    from image_syncer.reporting.run_account import account_of_run

    account = account_of_run(recorded)
    figures = figures_of(recorded)
    parts = [_head(recorded, account, name), HATCHES, *_failures(account)]
    parts += [_figure(figures[key]) for key in ("throughput", "waits") if key in figures]
    if not recorded.transfers and recorded.report.kind == "sync":
        about = "No transfers are in this report: nothing moved, or an old release wrote it."
        parts.append(section("Over time", about, ""))
    parts += [*_savings(recorded, account), *_forecast(recorded, plan, estimate)]
    parts += [_figure(figures[key]) for key in ("workers", "registries", "limits") if key in figures]
    parts += [*_refusals(recorded), *_transfers(recorded, account), *_repeats(recorded, account)]
    parts += [*_pairs(recorded, account), *_requests(recorded), *_machine(recorded), *_rest(recorded)]
    parts.append(_FOOTER)
    return page(f"image-syncer: {_title(recorded)}", "\n".join(parts))


def _figure(figure: Figure) -> str:
    return section(figure.title, figure.about, draw_svg(figure), figure.name)


def _head(recorded: RecordedReport, account: RunAccount, name: str) -> str:
    from image_syncer.units import format_duration

    report = recorded.report
    well, words = verdict(report)
    facts = ["image-syncer", name, f"took {format_duration(report.seconds)}", f"exit code {report.exit_code}"]
    kind = "verdict" if well else "verdict bad"
    return (
        f"<header><h1>{escape(_title(recorded))}</h1><p>{' · '.join(map(escape, facts))}</p>"
        f'<p class="{kind}">{escape(words, 600)}</p></header><dl>{"".join(_tiles(recorded, account))}</dl>'
    )


def _title(recorded: RecordedReport) -> str:
    what = {"verify": "Verification", "prune": "Prune"}.get(recorded.report.kind, "Run")
    return f"{what} of {began(recorded.report)}"


def _tiles(recorded: RecordedReport, account: RunAccount) -> Iterator[str]:
    from image_syncer import Outcome
    from image_syncer.units import format_rate, format_size, mean_rate

    report, totals, savings = recorded.report, recorded.report.totals, account.savings
    failed = sum(count for outcome, count in totals.outcomes.items() if outcome.is_failure)
    counts = ", ".join(f"{totals.outcomes[outcome]:,} {outcome}" for outcome in Outcome if totals.outcomes.get(outcome))
    yield tile("Images", f"{totals.images:,}", counts or "none", "bad" if failed else "")
    if report.kind == "verify":
        yield tile("Checked", f"{totals.blobs_checked:,} blobs", f"{totals.manifests_checked:,} manifests")
        yield tile("Differences", f"{totals.differences:,}", f"{format_size(totals.bytes_read)} read")
        return
    yield tile("Moved", format_size(totals.bytes_moved), plural(totals.blobs_moved, "blob"))
    rate = mean_rate(totals.bytes_moved, report.seconds)
    yield tile("Rate", format_rate(rate), "over the whole run, the looking included")
    kept = f"{savings.blobs_mounted:,} blobs mounted, {savings.blobs_present:,} found there"
    yield tile("Not sent again", format_size(savings.bytes_saved), kept)
    yield tile("Requests", f"{totals.request_count:,}", "to all registries")
    breaks = report.resumes.get("source", 0) + report.resumes.get("destination", 0)
    again = f"{plural(account.images_retried, 'image')} tried again"
    yield tile("Interruptions", f"{breaks:,}", f"overcome by transfers; {again}")
    refused = {name: data["refused"] for name, data in report.limits.items() if data["refused"]}
    if refused:
        most = max(refused, key=lambda name: refused[name])
        by = f"requests, for their number (429): {refused[most]:,} by {most}"
        yield tile("Refused", f"{sum(refused.values()):,}", by)
    yield _slow_side(recorded)


def _slow_side(recorded: RecordedReport) -> str:
    records, small = ring_transfers(recorded)
    waits = add_waits(records)
    if not waits.noted:
        return tile("Slow side", "–", "no waits were noted")
    full, empty = waits.share(waits.source_waited_s), waits.share(waits.destination_waited_s)
    side, which = waits.side or "neither", f" of more than {small}" if small else ""
    share = {"destination": f": {full}", "source": f": {empty}"}.get(side, "")
    waited = f"of their time, transfers{which} waited {empty} for sources, {full} for destinations"
    return tile("Slow side", f"{side}{share}", waited)


def _failures(account: RunAccount) -> Iterator[str]:
    if not account.failures:
        return
    causes = []
    for group in account.failures[:_CARDS]:
        said = next((image.reason for image in group.examples if image.reason), None) or "no reason is known"
        examples = "".join(f"<li>{escape(one.source)} → {escape(one.destination)}</li>" for one in group.examples)
        left = group.count - len(group.examples)
        more = f"<li>… and {left:,} more</li>" if left else ""
        causes.append(
            f'<div class="cause"><b>{group.count:,} × {escape(group.cause)}</b><p>“{escape(said, _REASON)}”</p>'
            f"<p><b>What to do:</b> {escape(group.advice, _REASON)}</p><ul>{examples}{more}</ul></div>"
        )
    rows = [
        (f"{group.count:,}", group.cause, f"{group.examples[0].source}\n→ {group.examples[0].destination}")
        for group in account.failures[_CARDS:_MAX_GROUPS]
    ]
    if rows:
        causes.append(table(("images", "cause", "for example"), rows, (0,)))
    hidden = len(account.failures) - _MAX_GROUPS
    about = "By cause, the most frequent first, each with what was said of its first image."
    if hidden > 0:
        about += f" {hidden:,} more causes are in the report."
    yield section("What failed", about, "".join(causes), "failures")


def _savings(recorded: RecordedReport, account: RunAccount) -> Iterator[str]:
    from image_syncer.units import format_size

    saved = account.savings
    known = max(0, recorded.report.totals.blobs_present - saved.blobs_present)
    if not (saved.bytes_moved or saved.bytes_saved):
        return
    mounted, present = format_size(saved.bytes_mounted), format_size(saved.bytes_present)
    rows = [
        ("sent to destinations", format_size(saved.bytes_moved), "", "over the network"),
        ("mounted", mounted, f"{saved.blobs_mounted:,}", _MOUNTED),
        ("found there", present, f"{saved.blobs_present:,}", "at the destination, when it was to be sent"),
        ("known to be there", "not noted", f"{known:,}", "another image had brought it: not even asked for"),
        ("read once for several", format_size(saved.bytes_shared), "", _SHARED),
    ]
    rows = [row for row in rows if row[1:3] not in (("0 B", "0"), ("0 B", ""), ("not noted", "0"))]
    about = (
        f"At least {format_size(saved.bytes_saved)} ({percent(saved.share)} of what destinations needed) did not have "
        "to be sent. Images that were unchanged as a whole are not counted: their blobs were not needed."
    )
    if not (saved.bytes_saved or known):
        about = "Each blob was sent to each destination that needed it."
    told = table(("", "bytes", "blobs", ""), rows, (1, 2)) if len(rows) > 1 else ""
    yield section("What need not move", about, told, "savings")


def _forecast(recorded: RecordedReport, plan: PlanFile | None, estimate: EstimateFile | None) -> Iterator[str]:
    rows = forecast_rows(recorded.report, plan, estimate)
    if not rows:
        return
    head = ("", "predicted", "done", "difference")
    made = f"The plan is of {plan.started_at.replace('T', ' ')[:19]} UTC. " if plan is not None else ""
    about = f"{made}A run differs where registries changed since, where something failed, and where it was tried again."
    yield section("Prediction against reality", about, table(head, rows, (1, 2, 3)), "forecast")


def _refusals(recorded: RecordedReport) -> Iterator[str]:
    from image_syncer.units import format_duration

    rows = [
        (registry, f"{data['refused']:,}", format_duration(data["left_alone_s"]))
        for registry, data in recorded.report.limits.items()
        if data["refused"] or data["left_alone_s"]
    ]
    if rows:
        head = ("registry", "requests refused (429)", "paused for")
        yield section("Registries that limited us", "", table(head, rows[:_MAX_ROWS], (1, 2)), "refusals")


def _transfers(recorded: RecordedReport, account: RunAccount) -> Iterator[str]:
    slow = "Where many stand for one registry, look at that registry first."
    limiting = [name for name, data in recorded.report.limits.items() if data["refused"] or data["left_alone_s"]]
    if limiting:
        slow += f" What waited for neither side may have waited for a limit: {_first_names(limiting, ',')} had one."
    head = ("time", "size", "rate", "worker", "waited for", "blob", "from → to")
    for title, about, records in (
        ("Slowest transfers", slow, account.slowest),
        ("Largest blobs", "Each once, with its slowest transfer.", account.largest),
    ):
        if records:
            yield section(title, about, table(head, map(_transfer, records), (0, 1, 2, 3), (4, 5)))


def _transfer(record: TransferRecord) -> Sequence[str]:
    from image_syncer.reporting.timeline import slow_side

    side = slow_side(record.source_waited_s, record.destination_waited_s, record.seconds)
    digest = record.digest.rpartition(":")[2]
    return (
        *transfer_words(record),
        side or "neither",
        digest if len(digest) <= _DIGEST else f"{digest[:_DIGEST]}…",
        f"{record.source}\n→ {_first_names(record.destinations)}",
    )


def _first_names(names: Sequence[str], grouping: str = "") -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more:{grouping}} more" if more > 0 else "")


def _repeats(recorded: RecordedReport, account: RunAccount) -> Iterator[str]:
    resumes, ended = recorded.report.resumes, account.transfer_outcomes
    rows = [
        (f"breaks overcome at the {side}", f"{resumes[side]:,}")
        for side in ("source", "destination")
        if resumes.get(side)
    ]
    if resumes.get("while idle"):
        rows.append(("breaks while both sides were idle", f"{resumes['while idle']:,}"))
    if account.transfers_resumed:
        rows.append(("transfers that broke off and went on", f"{account.transfers_resumed:,}"))
    if ended.get("failed"):
        rows.append(("transfers that failed", f"{ended['failed']:,} of {sum(ended.values()):,}"))
    asked, last = workers_of(recorded), max((one.worker for one in recorded.transfers), default=0)
    if asked is not None and last > asked:
        rows.append(("worker processes that died and were replaced, at least", f"{last - asked:,}"))
    if account.images_retried:
        rows.append(("images tried more than once", f"{account.images_retried:,}"))
    title = "Retries, resumes and faults"
    if not rows:
        yield section(title, "None: no transfer broke off, and no image was tried twice.", "", "faults")
        return
    body = table(("", "count"), rows, (1,))
    if account.retried:
        tried = [
            (f"{image.tries:,}", image.outcome.value, f"{image.source}\n→ {image.destination}")
            for image in account.retried
        ]
        body += "<br>" + table(("tries", "in the end", "image"), tried, (0,))
    yield section(title, "", body, "faults")


def _pairs(recorded: RecordedReport, account: RunAccount) -> Iterator[str]:
    from image_syncer import Outcome
    from image_syncer.units import format_size

    rows = [
        (
            f"{pair.source} → {pair.destination}",
            f"{pair.images:,}",
            ", ".join(f"{pair.outcomes[one]:,} {one}" for one in Outcome if one in pair.outcomes),
            format_size(pair.bytes_moved),
            f"{pair.blobs_moved:,}",
            f"{pair.blobs_mounted:,}",
            f"{pair.blobs_present:,}",
        )
        for pair in account.pairs[:_MAX_ROWS]
    ]
    if rows:
        head = ("from → to", "images", "outcomes", "moved", "blobs", "mounted", "already there")
        columns = len(head) if recorded.report.kind == "sync" else 3  # what only looks moves nothing
        more = len(account.pairs) - len(rows)
        about = f"The {len(rows)} with the most bytes; {more:,} more are not shown." if more else ""
        body = table(head[:columns], [row[:columns] for row in rows], (1, 3, 4, 5, 6))
        yield section("From where to where", about, body, "pairs")


def _requests(recorded: RecordedReport) -> Iterator[str]:
    totals = recorded.report.totals
    rows = [
        (kind, f"{count:,}", percent(count / totals.request_count))
        for kind, count in sorted(totals.requests.items(), key=lambda item: -item[1])[:_MAX_ROWS]
        if count
    ]
    if rows:
        yield section("Requests", "", table(("kind", "count", "share"), rows, (1, 2)), "requests")


def _machine(recorded: RecordedReport) -> Iterator[str]:
    from image_syncer.units import format_duration, format_size

    usage, seconds = recorded.report.usage, recorded.report.seconds
    rows = []
    for who, cpu, peak, remark in (
        ("coordinator", "coordinator_cpu_s", "coordinator_peak_bytes", ""),
        ("all workers", "workers_cpu_s", "worker_peak_bytes", " (the largest)"),
    ):
        if cpu in usage and usage.get(peak):
            cores = f"{usage[cpu] / seconds:.2f}" if seconds > 0 else "–"
            rows.append((who, format_duration(usage[cpu]), cores, f"{format_size(usage[peak])}{remark}"))
    if rows:
        about = "A core that was busy all the time would be 1.00. A coordinator near 1 is the bottleneck itself."
        head = ("", "processor time", "cores busy, mean", "peak memory")
        yield section("Processor and memory", about, table(head, rows, (1, 2, 3)), "machine")


def _rest(recorded: RecordedReport) -> Iterator[str]:
    from image_syncer.units import format_size

    report = recorded.report
    mirrors = [
        (mirror, format_size(data["bytes"]), f"{data['failures']:,}")
        for mirror, data in list(report.mirrors.items())[:_MAX_ROWS]
    ]
    if mirrors:
        yield section("Mirrors", "", table(("mirror", "gave", "failures"), mirrors, (1, 2)), "mirrors")
    if report.warnings:
        shown = "".join(f"<li>{escape(text, 600)}</li>" for text in report.warnings[:_MAX_ROWS])
        more = len(report.warnings) - _MAX_ROWS
        about = f"{more:,} more are in the report." if more > 0 else ""
        yield section("Warnings", about, f'<ul class="plain">{shown}</ul>', "warnings")
    settings = [(str(key), _setting(str(key), value)) for key, value in report.settings.items()]
    if settings:
        yield section("Settings", "", table(("setting", "value"), settings[: 2 * _MAX_ROWS]), "settings")


def _setting(name: str, value: object) -> str:
    from image_syncer.units import format_size

    if value is None:
        return "–"
    sizes = name.endswith("_bytes") and isinstance(value, int) and value >= 0
    return format_size(value) if sizes and isinstance(value, int) else str(value)
