"""The options of a prune, which `prune` and `sync` have: what may be deleted, how much of it, and whether it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_values import add_options, file_option, flag, parsed, parsed_by

if TYPE_CHECKING:
    from image_syncer import Pruning
    from image_syncer_cli.option_values import Command


@dataclass(frozen=True)
class PruneOptions:
    """The values of these options, by the names of click's parameters."""

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
        """Take them out of the keyword arguments of a verb."""
        return cls(**{name: options.pop(name) for name in cls.__dataclass_fields__ if name in options})

    @property
    def deletes(self) -> bool:
        """Whether anything is deleted: with `--yes`, or by a reviewed plan."""
        return self.yes or self.plan is not None

    def build(self, backup_tag: str | None = None) -> Pruning:
        """Return them for the engine. `backup_tag` names the backups of a sync, where no option says so."""
        from image_syncer import Pruning
        from image_syncer.pruning.pruner import load_prune_plan

        others: dict[str, Any] = {"most": self.prune_most, "backup_tag": self.backup_tag or backup_tag}
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


def _parse_backup_tag(value: str) -> str:
    from image_syncer import parse_on_conflict

    return parse_on_conflict(f"backup:{value}").backup_tag


_COMMON = (
    click.option(
        "--prune-most",
        callback=parsed_by("parse_share"),
        metavar="SHARE",
        help="Delete nothing if more than this share of the tags of a repository, or of all tags, would be deleted; "
        "one tag is always allowed. [default: 20%]",
    ),
    click.option(
        "--prune-keep",
        multiple=True,
        metavar="PATTERN",
        help="Keep these tags although no rule selects them, e.g. ci-*; can be repeated.",
    ),
    flag("--prune-backups", help="Also delete backups made by --on-conflict backup."),
    flag("--prune-orphans", help="Also delete tags such as sha256-….sig whose image is not in the repository."),
    flag(
        "--prune-empty", help="Also prune where a source has no tag that its rule selects; by default, it is skipped."
    ),
)


def sync_prune_options(command: Command) -> Command:
    """Add the options of a prune to `sync`."""
    own = (
        flag("--prune", help="Then show what no rule selects any more at the destinations; with --yes, delete it."),
        flag("--yes", help="With --prune: delete it, where all images of the repository are in place."),
    )
    return add_options(command, (*own, *_COMMON))


def prune_options(command: Command) -> Command:
    """Add the options of `prune`."""
    own = (
        flag("--yes", help="Delete it. Without --yes or --plan, it is only shown."),
        file_option("--save", help="Write what would be deleted to FILE, for review and for --plan."),
        file_option(
            "--plan", help="Delete what is in FILE and may still be deleted, and nothing else; --yes is not needed."
        ),
    )
    backup_tag = click.option(
        "--backup-tag",
        callback=parsed(_parse_backup_tag),
        metavar="TAG",
        help="Tag of backups, as --on-conflict backup:TAG makes them. [default: {tag}-{digest}]",
    )
    return add_options(command, (*own, *_COMMON, backup_tag))
