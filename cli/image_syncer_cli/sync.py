"""`image-syncer sync`: copies what the user's files say. The verb may be left out."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from image_syncer_cli.cluster_options import ClusterOptions, cluster_options
from image_syncer_cli.control_options import control_option
from image_syncer_cli.notify_options import notify_options, read_webhooks
from image_syncer_cli.option_values import file_name
from image_syncer_cli.options import RunOptions, run_options
from image_syncer_cli.prune_options import PruneOptions, sync_prune_options
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import (
        ClusterAddress,
        Configuration,
        Pruning,
        Report,
        RunControl,
        Settings,
        Snapshot,
        Webhook,
    )

__all__ = ["sync"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_DROPPED = {
    "--records": "The destination is asked what it has, which needs no file. Leave the option out.",
    "--registry": "Write the whole destination, with its registry, in the images file.",
    "--namespace": "Write the whole destination, with its namespace, in the images file.",
}
"""Options of the Go tool before 1.3, which dropped them, and what to do instead."""


def _refuse_dropped(_ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        option = param.opts[0]
        raise click.UsageError(f"{option} is no longer there. {_DROPPED[option]}")


def _dropped(option: str) -> Callable[[_Command], _Command]:
    return click.option(option, hidden=True, expose_value=False, callback=_refuse_dropped)


@click.command(cls=Verb)
@auth_option
@click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option(
    "--plan",
    "plan",
    callback=file_name,
    metavar="FILE",
    help="Copy what this file of plan --save says, and nothing else, instead of --images.",
)
@click.option(
    "--bench",
    callback=file_name,
    metavar="FILE",
    help="With --plan: tell the time left from the start, by what bench --save measured.",
)
@notify_options
@run_options
@control_option
@cluster_options
@sync_prune_options
@_dropped("--records")
@_dropped("--registry")
@_dropped("--namespace")
def sync(
    *,
    auth: str | None,
    images: str | None,
    config: str | None,
    plan: str | None,
    bench: str | None,
    webhooks: tuple[Webhook, ...],
    notify_file: str | None,
    notify_when: str,
    **options: Any,
) -> int:
    """Copy the images that the files name, from registry to registry.

    What the destination already has is found by two requests an image, and not copied again.
    """
    pruning = PruneOptions.take(options)
    cluster = ClusterOptions.take(options).build()
    given = RunOptions.from_click(options)
    if plan is not None:
        _refuse_beside_a_plan(images, pruning)
    elif images is None and config is None:
        raise click.UsageError("nothing to copy: give --images FILE (and --auth FILE), or --config FILE.")
    if bench is not None:
        _refuse_a_bench(plan, given, on_cluster=cluster is not None)
    if not pruning.prune and not pruning.is_empty:
        raise click.UsageError("--yes and the options of a prune go with --prune, which was not given.")
    if pruning.yes and given.dry_run:
        raise click.UsageError("--dry-run deletes nothing: leave out --yes.")
    from image_syncer import load_configuration
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.run import prepare_workers, run_images

    if cluster is None:
        prepare_workers(given)
    if plan is None:
        configuration = load_configuration(config=config, auth=auth, images=images, environ=os.environ)
    else:
        configuration, given = _read_plan(plan, auth, config, given)
    engine = None if cluster is None else _on_cluster(cluster, configuration)
    if bench is not None and plan is not None:
        engine = _foreseeing(plan, bench, engine)
    if pruning.prune:
        engine = _pruning_after(pruning.build(given.on_conflict), engine)
    if told := read_webhooks(webhooks, notify_file):
        engine = _telling(told, notify_when, engine)
    return run_images(configuration, given, way_words(auth, config), engine)


def _refuse_beside_a_plan(images: str | None, pruning: PruneOptions) -> None:
    if images is not None:
        raise click.UsageError("--plan and --images were given together: the plan has the images already.")
    if pruning.prune:
        raise click.UsageError("--prune looks at all rules of the files, and a plan has none: prune without --plan.")


def _refuse_a_bench(plan: str | None, given: RunOptions, *, on_cluster: bool) -> None:
    if plan is None:
        raise click.UsageError("--bench goes with --plan: how long a run takes is reckoned from what it has to do.")
    if on_cluster:
        raise click.UsageError("--bench measured one host, and --cluster runs on others: leave out --bench.")
    if given.dry_run:
        raise click.UsageError("--dry-run moves nothing, and there is no time to be told: leave out --bench.")


def _foreseeing(plan: str, bench: str, engine: Callable[..., Report] | None) -> Callable[..., Report]:
    """An engine whose time left is reckoned from a simulation too, as soon as that has ended in its own process."""
    import image_syncer

    image_syncer.load_bench(bench)  # what is wrong with it is said before anything begins

    def run(
        opened: Configuration,
        settings: Settings,
        *,
        on_progress: Callable[[Snapshot], None],
        control: RunControl,
        **more: Any,
    ) -> Report:
        with image_syncer.Foresight(plan, bench, settings) as foresight:

            def tell(snapshot: Snapshot) -> None:
                control.foreseen = control.foreseen or foresight.take()
                on_progress(snapshot)

            return (engine or image_syncer.sync)(opened, settings, on_progress=tell, control=control, **more)

    return run


def _read_plan(path: str, auth: str | None, config: str | None, given: RunOptions) -> tuple[Configuration, RunOptions]:
    """What the plan says is to be copied, and how; what is `given` comes first."""
    from image_syncer import load_plan, planned_work
    from image_syncer_cli.output import say
    from image_syncer_cli.registry_options import read_registries
    from image_syncer_cli.told_choices import with_choices

    registries = read_registries(auth, (), config)
    work = planned_work(load_plan(path))
    work.check_policies(registries)
    if not work.rules and not given.quiet:
        say(f"{path}: nothing is to be copied", err=True)
    return replace(registries, rules=work.rules), with_choices(given, work)


def _telling(webhooks: tuple[Webhook, ...], when: str, engine: Callable[..., Report] | None) -> Callable[..., Report]:
    """An engine that tells webhooks how it went."""
    import image_syncer

    def run(*given: Any, **more: Any) -> Report:
        report = (engine or image_syncer.sync)(*given, **more)
        image_syncer.tell_webhooks(report, webhooks, image_syncer.NotifyWhen(when))
        return report

    return run


def _on_cluster(cluster: ClusterAddress, configuration: Configuration) -> Callable[..., Report]:
    """An engine with the workers of a cluster. What it cannot reach is refused before anything is opened."""
    import image_syncer

    image_syncer.check_cluster_run(configuration)
    return partial(image_syncer.sync_on_cluster, cluster=cluster)


def _pruning_after(pruning: Pruning, before: Callable[..., Report] | None) -> Callable[..., Report]:
    """A sync that does what is to be done when everything is there."""
    import image_syncer

    def engine(configuration: Configuration, settings: Settings, **callbacks: Any) -> Report:
        return (before or image_syncer.sync)(configuration, replace(settings, pruning=pruning), **callbacks)

    return engine
