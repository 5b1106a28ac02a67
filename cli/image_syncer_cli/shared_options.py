"""Options that several verbs share: the files to read, how registries are reached, the control socket, webhooks."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_values import add_options, file_option, flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import Configuration, RunControl
    from image_syncer.watch.webhooks import Webhook
    from image_syncer_cli.option_values import Command, Option


AUTH_OPTION = click.option("--auth", metavar="FILE", help="Credentials and TLS settings of registries, YAML or JSON.")
IMAGES_OPTION = click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON.")
CONFIG_OPTION = click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
REGISTRIES_OPTION = click.option(
    "--config", metavar="FILE", help="Read registries from a file with both parts, instead of --auth."
)


def _insecure_hosts(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a host with a user name and a password: hosts are shown to the user again."""
    if any("@" in value for value in values):
        raise click.BadParameter("write the host alone: user names and passwords go into the auth file.")
    return values


INSECURE_OPTION = click.option(
    "--insecure",
    "insecure_hosts",
    multiple=True,
    metavar="HOST",
    callback=_insecure_hosts,
    help="Accept any certificate of this registry, or plain HTTP; can be repeated.",
)


@dataclass(frozen=True)
class Files:
    """The files that a verb reads, and the hosts of `--insecure`."""

    auth: str | None = None
    images: str | None = None
    config: str | None = None
    insecure_hosts: tuple[str, ...] = ()

    def require_images(self, purpose: str) -> None:
        """Raise UsageError where no file says which images there are; `purpose` is the verb of that sentence."""
        if self.images is None and self.config is None:
            raise click.UsageError(f"nothing to {purpose}: give --images FILE (and --auth FILE), or --config FILE.")

    def load(self) -> Configuration:
        """Return the whole configuration. Raises ConfigurationError."""
        from image_syncer import load_configuration

        return load_configuration(config=self.config, auth=self.auth, images=self.images, environ=os.environ)

    def load_registries(self) -> Configuration:
        """Return a configuration without rules. Raises UsageError where both files were given."""
        from image_syncer import Configuration, RegistryBook, RegistryEntry, load_configuration, load_registries

        if self.auth is not None and self.config is not None:
            raise click.UsageError("--auth and --config were given together: use one or the other.")
        if self.config is not None:
            known = load_configuration(config=self.config, environ=os.environ)
        else:
            known = Configuration() if self.auth is None else load_registries(self.auth, environ=os.environ)
        # Of two entries for one prefix the first one wins: the password of the file stays.
        insecure = [RegistryEntry(host, insecure=True) for host in self.insecure_hosts]
        return replace(known, rules=(), catalogs=(), registries=RegistryBook((*known.registries.entries, *insecure)))

    def access_words(self) -> list[str]:
        """Return the options that say how registries are reached, as words of a command line."""
        words = [word for host in self.insecure_hosts for word in ("--insecure", host)]
        if self.config is not None:
            words = ["--config", self.config, *words]
        return words if self.auth is None else ["--auth", self.auth, *words]


_FILE_NAMES = [each.name for each in fields(Files)]


def file_options(*options: Option) -> Callable[[Command], Command]:
    """Return a decorator that adds these options and hands their values to the verb as `files`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            files = Files(**{name: given.pop(name) for name in _FILE_NAMES if name in given})
            return command(*args, files=files, **given)

        return add_options(call, options)  # type: ignore[return-value]

    return decorate


rule_files = file_options(AUTH_OPTION, IMAGES_OPTION, CONFIG_OPTION)
"""Add --auth, --images and --config."""
json_lines_option = flag("--json", "as_json", help="Write one JSON object per line to standard output.")


def read_text(path: str, option: str) -> str:
    """Return the text of the file of an option. Raises ConfigurationError."""
    from image_syncer import ConfigurationError

    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigurationError(f"{path} cannot be read: {what}", hint=f"Give {option} a file of text.") from None


def _webhooks(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[Webhook, ...]:
    if not values:
        return ()
    from image_syncer.watch.webhooks import parse_webhook

    try:
        return tuple(map(parse_webhook, values))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


NOTIFY_OPTIONS = (
    click.option(
        "--notify",
        "webhooks",
        multiple=True,
        callback=_webhooks,
        metavar="URL",
        help="Post a JSON summary of each run to this URL; can be repeated.",
    ),
    file_option(
        "--notify-file",
        help="Read such URLs, and header fields for them (Name: value), from FILE: for URLs with a secret.",
    ),
    click.option(
        "--notify-when",
        type=click.Choice(["always", "failure", "change"]),
        default="always",
        show_default=True,
        help="After which runs: all, failed ones, or those that copied, failed or recovered.",
    ),
)


def notify_options(command: Command) -> Command:
    """Add the options `webhooks`, `notify_file` and `notify_when` to a verb."""
    return add_options(command, NOTIFY_OPTIONS)


def read_webhooks(webhooks: tuple[Webhook, ...], path: str | None) -> tuple[Webhook, ...]:
    """Return the webhooks of the command line and those of the file. Raises ConfigurationError."""
    if path is None:
        return webhooks
    from image_syncer import ConfigurationError
    from image_syncer.watch.webhooks import parse_webhook_file

    try:
        return (*webhooks, *parse_webhook_file(read_text(path, "--notify-file")))
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


_NO_SOCKET = "none"
_OWN_SOCKET = "own"
"""The default: a socket named after this process."""

control_option = file_option(
    "--control",
    default=_OWN_SOCKET,
    metavar="SOCKET",
    help="Socket for `image-syncer top`, or none. [default: PID.sock in $XDG_RUNTIME_DIR/image-syncer]",
)


def make_control(option: str | None) -> RunControl | None:
    """Return the control of a run; None for a verb without the option."""
    if option is None:
        return None
    from image_syncer import RunControl
    from image_syncer.control.paths import default_control_socket

    if option == _NO_SOCKET:
        return RunControl()
    own = option == _OWN_SOCKET
    return RunControl(default_control_socket(os.environ, os.getpid()) if own else os.path.abspath(option))  # noqa: PTH100
