"""`image-syncer sync`: copies what the user's files say, with local processes or a Dask cluster."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.option_values import add_options, file_option
from image_syncer_cli.options import RunOptions, run_options
from image_syncer_cli.prune_options import PruneOptions, sync_prune_options
from image_syncer_cli.shared_options import control_option, notify_options, read_webhooks, rule_files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from image_syncer import Configuration, Pruning, Report, RunControl, Settings, Snapshot
    from image_syncer.cluster.connection import ClusterAddress
    from image_syncer.watch.webhooks import Webhook
    from image_syncer_cli.option_values import Command
    from image_syncer_cli.shared_options import Files

    Engine = Callable[..., Report]


_CLUSTER_FILES = {"cluster_ca": "--cluster-ca", "cluster_cert": "--cluster-cert", "cluster_key": "--cluster-key"}
_DROPPED = {
    "--records": "The destination is asked what it has, which needs no file. Leave the option out.",
    "--registry": "Write the whole destination, with its registry, in the images file.",
    "--namespace": "Write the whole destination, with its namespace, in the images file.",
}
"""Options that the Go tool dropped in 1.3, and what to do instead."""


def _refuse_dropped(_ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        option = param.opts[0]
        raise click.UsageError(f"{option} is no longer there. {_DROPPED[option]}")


def _dropped_options(command: Command) -> Command:
    options = [click.option(name, hidden=True, expose_value=False, callback=_refuse_dropped) for name in _DROPPED]
    return add_options(command, options)


def _cluster_options(command: Command) -> Command:
    options = (
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="Run the workers in the Dask workers of this scheduler, e.g. tls://scheduler:8786.",
        ),
        file_option("--cluster-ca", help="CA of the cluster's certificates, PEM. [default: from Dask's configuration]"),
        file_option("--cluster-cert", help="Client certificate for the cluster, PEM. [default: as above]"),
        file_option("--cluster-key", help="Its key, if that is another file. [default: as above]"),
    )
    return add_options(command, options)


def _take_cluster(options: MutableMapping[str, Any]) -> ClusterAddress | None:
    """Take the options of a cluster out of those of the verb. Raises UsageError for an address that cannot be used."""
    text = options.pop("cluster")
    paths = {name: options.pop(name) for name in _CLUSTER_FILES}
    if text is None:
        alone = [_CLUSTER_FILES[name] for name, path in paths.items() if path is not None]
        if alone:
            raise click.UsageError(f"{alone[0]} goes with --cluster, which was not given.")
        return None
    from image_syncer.cluster.connection import ClusterAddress, parse_cluster_address

    try:
        address = parse_cluster_address(text)
    except ValueError as error:
        raise click.UsageError(f"--cluster: {error}.") from None
    return ClusterAddress(address, *paths.values())


@click.command(cls=Verb)
@rule_files
@file_option("--plan", help="Copy what this plan (plan --save) says, and nothing else, instead of --images.")
@file_option("--bench", help="With --plan: show the time left from the start, from measurements (bench --save).")
@notify_options
@run_options
@control_option
@_cluster_options
@sync_prune_options
@_dropped_options
def sync(
    *,
    files: Files,
    plan: str | None,
    bench: str | None,
    webhooks: tuple[Webhook, ...],
    notify_file: str | None,
    notify_when: str,
    **options: Any,
) -> int:
    """Copy the images that the files name, from registry to registry.

    Two requests per image find what the destination already has; that is not copied again.
    """
    pruning = PruneOptions.take(options)
    cluster = _take_cluster(options)
    given = RunOptions.from_click(options)
    if plan is None:
        files.require_images("copy")
    _refuse_contradictions(plan, bench, files, given, pruning, on_cluster=cluster is not None)
    from image_syncer_cli.run import prepare_workers, run_images

    if cluster is None:
        prepare_workers(given)
    if plan is None:
        configuration = files.load()
    else:
        configuration, given = _read_plan(plan, files, given)
    engine = None if cluster is None else _on_cluster(cluster, configuration)
    if bench is not None and plan is not None:
        engine = _with_estimate(plan, bench, engine)
    if pruning.prune:
        conflict = given.settings["on_conflict"]
        engine = _with_prune(pruning.build(None if conflict is None else conflict.backup_tag), engine)
    if told := read_webhooks(webhooks, notify_file):
        engine = _with_webhooks(told, notify_when, engine)
    return run_images(configuration, given, files.access_words(), engine)


def _refuse_contradictions(
    plan: str | None, bench: str | None, files: Files, given: RunOptions, pruning: PruneOptions, *, on_cluster: bool
) -> None:
    """Raise UsageError for options that exclude or need each other."""
    refused = (
        (
            plan and files.images is not None,
            "--plan and --images were given together: the plan has the images already.",
        ),
        (plan and pruning.prune, "--prune looks at all rules of the files, and a plan has none: prune without --plan."),
        (bench and not plan, "--bench goes with --plan: how long a run takes is reckoned from what it has to do."),
        (bench and on_cluster, "--bench measured one host, and --cluster runs on others: leave out --bench."),
        (bench and given.dry_run, "--dry-run moves nothing, and there is no time to be told: leave out --bench."),
        (
            not pruning.prune and pruning != PruneOptions(),
            "--yes and the options of a prune go with --prune, which was not given.",
        ),
        (pruning.yes and given.dry_run, "--dry-run deletes nothing: leave out --yes."),
    )
    for applies, message in refused:
        if applies:
            raise click.UsageError(message)


def _read_plan(path: str, files: Files, given: RunOptions) -> tuple[Configuration, RunOptions]:
    """Return what the plan says is to be copied, and how; options that are `given` come first."""
    from image_syncer import load_plan
    from image_syncer.reporting.chosen_work import planned_work
    from image_syncer_cli.verbs.retry import with_choices

    registries = files.load_registries()
    work = planned_work(load_plan(path))
    work.check_policies(registries)
    if not work.rules and not given.quiet:
        say(f"{path}: nothing is to be copied", err=True)
    return replace(registries, rules=work.rules), with_choices(given, work)


def _on_cluster(cluster: ClusterAddress, configuration: Configuration) -> Engine:
    """Return an engine with the workers of a cluster. What it cannot reach is refused before anything is opened."""
    from image_syncer.cluster.run import check_cluster_run, sync_on_cluster

    check_cluster_run(configuration)
    return partial(sync_on_cluster, cluster=cluster)


def _with_estimate(plan: str, bench: str, engine: Engine | None) -> Engine:
    """Return an engine whose time left comes from a simulation too, once its process has finished that."""
    import image_syncer
    from image_syncer.bench.bench_file import load_bench
    from image_syncer.bench.prediction import Foresight

    load_bench(bench)  # so that a mistake in it is reported before anything begins

    def run(
        opened: Configuration,
        settings: Settings,
        *,
        on_progress: Callable[[Snapshot], None],
        control: RunControl,
        **more: Any,
    ) -> Report:
        with Foresight(plan, bench, settings) as foresight:

            def tell(snapshot: Snapshot) -> None:
                control.foreseen = control.foreseen or foresight.take()
                on_progress(snapshot)

            return (engine or image_syncer.sync)(opened, settings, on_progress=tell, control=control, **more)

    return run


def _with_prune(pruning: Pruning, engine: Engine | None) -> Engine:
    """Return an engine that prunes when everything is copied."""
    import image_syncer

    def run(configuration: Configuration, settings: Settings, **callbacks: Any) -> Report:
        return (engine or image_syncer.sync)(configuration, replace(settings, pruning=pruning), **callbacks)

    return run


def _with_webhooks(webhooks: tuple[Webhook, ...], when: str, engine: Engine | None) -> Engine:
    """Return an engine that posts its report to webhooks."""
    import image_syncer
    from image_syncer.watch.watcher import tell_webhooks
    from image_syncer.watch.webhooks import NotifyWhen

    def run(*given: Any, **more: Any) -> Report:
        report = (engine or image_syncer.sync)(*given, **more)
        tell_webhooks(report, webhooks, NotifyWhen(when))
        return report

    return run
