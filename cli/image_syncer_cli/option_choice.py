"""Which options of a run a verb has that does not have them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from image_syncer_cli.options import run_options
from image_syncer_cli.pipeline_options import PIPELINE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

__all__ = ["doctor_options", "options_without", "prune_run_options", "verify_options"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_OF_VERIFY = frozenset(
    {
        *(
            "os_names",
            "architectures",
            "missing_platform",
            "foreign_layers",
            "manifest_format",
            "retries",
            "retry_for",
            "give_up_after",
        ),
        *("connect_timeout", "stall_timeout"),
        *(
            "blobs_in_memory",
            "rate",
            "deadline",
            "report",
            *PIPELINE_NAMES,
            "quiet",
            "no_progress",
            "log",
            "log_format",
            "log_level",
            "metrics",
            "metrics_file",
            "trace_endpoint",
            "debug",
        ),
    }
)
"""The options of a run that mean something where nothing is copied, by the names of their parameters."""


_OF_DOCTOR = frozenset({"connect_timeout", "stall_timeout", "answer_timeout", "deadline", "debug"})
"""The options that mean something where one registry is looked at."""


def doctor_options(command: _Command) -> _Command:
    """Gives a verb those options of a run that say how long is waited."""
    return _kept(command, lambda name: name in _OF_DOCTOR)


def verify_options(command: _Command) -> _Command:
    """Gives a verb those options of a run that mean something where nothing is copied."""
    return _kept(command, lambda name: name in _OF_VERIFY)


def prune_run_options(command: _Command) -> _Command:
    """Gives a verb those, and the journal, which has to forget what is deleted."""
    return _kept(command, lambda name: name in _OF_VERIFY or name == "state")


def options_without(*names: str) -> Callable[[_Command], _Command]:
    """Gives a verb the options of a run, but those with these names of parameters."""
    return lambda command: _kept(command, lambda name: name not in names)


def _kept(command: _Command, wanted: Callable[[str], bool]) -> _Command:
    def bare(**_options: object) -> None: ...

    offered: list[click.Parameter] = getattr(run_options(bare), "__click_params__", [])
    kept = [param for param in offered if wanted(param.name or "")]
    before: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    before += kept
    return command
