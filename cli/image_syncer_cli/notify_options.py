"""The options that say who is told of a run: webhooks, when, and from which file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from image_syncer_cli.option_values import file_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import Webhook

__all__ = ["notify_options", "read_text", "read_webhooks"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _webhooks(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[Webhook, ...]:
    if not values:
        return ()
    from image_syncer import parse_webhook

    try:
        return tuple(map(parse_webhook, values))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


_OPTIONS = (
    click.option(
        "--notify",
        "webhooks",
        multiple=True,
        callback=_webhooks,
        metavar="URL",
        help="Post a summary of each run there, in JSON; may be given again.",
    ),
    click.option(
        "--notify-file",
        callback=file_name,
        metavar="FILE",
        help="The same with addresses from a file, and header fields (Name: value) for them: for those with a secret.",
    ),
    click.option(
        "--notify-when",
        type=click.Choice(["always", "failure", "change"]),
        default="always",
        show_default=True,
        help="After which runs: all, those that failed, or those that copied, failed, or are well again.",
    ),
)


def notify_options(command: _Command) -> _Command:
    """Gives a verb the options `webhooks`, `notify_file` and `notify_when`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_webhooks(webhooks: tuple[Webhook, ...], path: str | None) -> tuple[Webhook, ...]:
    """Those of the command line, and those of the file. Raises ConfigurationError."""
    if path is None:
        return webhooks
    from image_syncer import ConfigurationError, parse_webhook_file

    try:
        return (*webhooks, *parse_webhook_file(read_text(path, "--notify-file")))
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_text(path: str, option: str) -> str:
    """What is in the file of an option. Raises ConfigurationError."""
    from image_syncer import ConfigurationError

    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigurationError(f"{path} cannot be read: {what}", hint=f"Give {option} a file of text.") from None
