"""The options of a prune, which `prune` and `sync` have: what may go, how much of it, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from image_syncer_cli.option_values import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import Pruning

__all__ = ["PruneOptions", "prune_options", "sync_prune_options"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _share(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    from image_syncer import parse_share

    try:
        return parse_share(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _backup_tag(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from image_syncer import parse_on_conflict

    try:
        return parse_on_conflict(f"backup:{value}").backup_tag
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


@dataclass(frozen=True)
class PruneOptions:
    """What the command line says of a prune. The names are those of click's parameters."""

    prune: bool = False
    yes: bool = False
    prune_most: float | None = None
    prune_keep: tuple[str, ...] = ()
    prune_backups: bool = False
    prune_empty: bool = False
    prune_orphans: bool = False
    backup_tag: str | None = None
    plan: str | None = None
    save: str | None = None

    @classmethod
    def take(cls, options: dict[str, Any]) -> PruneOptions:
        """Those of the keyword arguments of a verb that are of a prune; they are taken out of `options`."""
        return cls(**{name: options.pop(name) for name in cls.__dataclass_fields__ if name in options})

    @property
    def deletes(self) -> bool:
        """Whether anything is deleted: with `--yes`, or by a plan that somebody has looked at."""
        return self.yes or self.plan is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said of a prune at all."""
        return self == PruneOptions()

    def build(self, on_conflict: str | None = None) -> Pruning:
        """The same for the engine; `on_conflict` names the backups that a sync makes itself."""
        from image_syncer import Pruning, load_prune_plan, parse_on_conflict

        others: dict[str, Any] = {"most": self.prune_most, "backup_tag": self.backup_tag}
        if on_conflict is not None and self.backup_tag is None:
            others["backup_tag"] = parse_on_conflict(on_conflict).backup_tag
        return Pruning(
            delete=self.deletes,
            keep=self.prune_keep,
            keep_backups=not self.prune_backups,
            empty_sources=self.prune_empty,
            orphans=self.prune_orphans,
            plan=None if self.plan is None else load_prune_plan(self.plan),
            save_path=self.save,
            **{name: value for name, value in others.items() if value is not None},
        )


_COMMON = (
    click.option(
        "--prune-most",
        callback=_share,
        metavar="SHARE",
        help="Delete nothing at all where more of the tags of a repository, or of all tags, would go; one tag always "
        "may. [default: 20%]",
    ),
    click.option(
        "--prune-keep",
        multiple=True,
        metavar="PATTERN",
        help="Tags that stay although no rule selects them, such as ci-*; the option may be given again.",
    ),
    click.option("--prune-backups", is_flag=True, help="Backups made by --on-conflict backup may go, too."),
    click.option(
        "--prune-orphans",
        is_flag=True,
        help="Tags such as sha256-….sig may go, too, whose image is not in the repository.",
    ),
    click.option(
        "--prune-empty",
        is_flag=True,
        help="A source that has no tag which its rule selects counts; without this, nothing is pruned where it goes.",
    ),
)

_OF_SYNC = (
    click.option(
        "--prune",
        is_flag=True,
        help="Then say what no rule selects any more at the destinations; with --yes, delete it.",
    ),
    click.option("--yes", is_flag=True, help="With --prune: delete it, where all images of the repository are there."),
    *_COMMON,
)

_OF_PRUNE = (
    click.option("--yes", is_flag=True, help="Delete it. Without this, and without --plan, it is only told."),
    click.option(
        "--save",
        callback=file_name,
        metavar="FILE",
        help="Write what would go to FILE, to be looked at and then given as --plan.",
    ),
    click.option(
        "--plan",
        callback=file_name,
        metavar="FILE",
        help="Delete what is in FILE and still may go, and nothing else; this needs no --yes.",
    ),
    *_COMMON,
    click.option(
        "--backup-tag",
        callback=_backup_tag,
        metavar="TAG",
        help="Backups have such tags, as --on-conflict backup:TAG makes them. [default: {tag}-{digest}]",
    ),
)


def sync_prune_options(command: _Command) -> _Command:
    """Gives `sync` its options of a prune."""
    return _decorate(command, _OF_SYNC)


def prune_options(command: _Command) -> _Command:
    """Gives `prune` its own options."""
    return _decorate(command, _OF_PRUNE)


def _decorate(command: _Command, options: Sequence[Callable[[_Command], _Command]]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command
