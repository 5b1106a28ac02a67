"""How option values are read: callbacks for click that explain a wrong value, and factories for options of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Command = TypeVar("Command", bound="Callable[..., Any]")
    Option = Callable[[Any], Any]
    Callback = Callable[[click.Context, click.Parameter, Any], Any]


_SHOWN_CHARACTERS = 40
_MAX_NUMBER = 1_000_000
_MAX_DURATION_S = 366 * 86400
"""More than any run takes."""
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})


def add_options(command: Command, options: Sequence[Option]) -> Command:
    """Add `options` to a verb, in the order in which `--help` shows them."""
    for option in reversed(options):
        command = option(command)
    return command


def parsed(parse: Callable[[str], Any], *, end: str = ".") -> Callback:
    """Return a callback that reads a value with `parse`. The text of a ValueError, and `end`, is the user's message."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}{end}") from None

    return callback


def parsed_by(name: str, *, module: str = "", end: str = ".") -> Callback:
    """Return a callback that reads a value with the function `name` of the engine's `module`, imported on first use."""

    def parse(value: str) -> Any:
        from importlib import import_module

        return getattr(import_module(f"image_syncer.{module}" if module else "image_syncer"), name)(value)

    return parsed(parse, end=end)


def _parse_size(value: str) -> int:
    from image_syncer.units import parse_size

    return parse_size(value)


def _parse_positive_size(value: str) -> int:
    size_bytes = _parse_size(value)
    if size_bytes < 1:
        raise ValueError("it must be more than nothing")
    return size_bytes


def _parse_duration(value: str) -> float:
    from image_syncer.units import parse_duration

    seconds = parse_duration(value)
    if not 0 < seconds <= _MAX_DURATION_S:
        raise ValueError("it must be more than nothing, and a year at most")
    return seconds


def _parse_rate(value: str) -> Any:
    from image_syncer import RateSchedule

    return RateSchedule.parse(value)


def _whole_number(at_least: int, at_most: int) -> Callback:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
            raise ValueError(f"{shown!r} is not a whole number") from None
        if number < at_least:
            raise ValueError(f"{number} is too small: it must be {at_least} or more")
        if number > at_most:
            raise ValueError(f"it is too large: it must be {at_most:,} or less")
        return number

    return parsed(parse)


def number_option(*names: str, at_least: int = 1, at_most: int = _MAX_NUMBER, **more: Any) -> Option:
    """Return an option for a whole number."""
    return click.option(*names, callback=_whole_number(at_least, at_most), **{"metavar": "N", **more})


def size_option(*names: str, zero: bool = False, **more: Any) -> Option:
    """Return an option for a number of bytes; 0 is allowed only with `zero`."""
    return click.option(*names, callback=parsed(_parse_size if zero else _parse_positive_size), metavar="SIZE", **more)


def duration_option(*names: str, zero: bool = False, **more: Any) -> Option:
    """Return an option for a number of seconds; 0 is allowed only with `zero`."""

    def parse(value: str) -> float:
        return 0.0 if zero and value.strip() in ("0", "0s") else _parse_duration(value)

    return click.option(*names, callback=parsed(parse), metavar="DURATION", **more)


def rate_option(help: str) -> Option:  # noqa: A002 - as in click
    """Return the option --rate: bytes per second, perhaps by the time of day."""
    return click.option("--rate", callback=parsed(_parse_rate), metavar="RATE", help=help)


def file_option(*names: str, **more: Any) -> Option:
    """Return an option for the name of a file, which must not be empty."""
    return click.option(*names, callback=_file_name, **{"metavar": "FILE", **more})


def list_option(*names: str, **more: Any) -> Option:
    """Return an option for names, comma-separated or repeated."""
    return click.option(*names, multiple=True, callback=_split_lists, metavar="NAMES", **more)


def flag(*names: str, **more: Any) -> Option:
    """Return an option without a value."""
    return click.option(*names, is_flag=True, **more)


def _split_lists(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Split `--arch amd64,arm64 --arch arm`. Empty items are dropped, as the Go tool does."""
    items = tuple(item.strip() for value in values for item in value.split(",") if item.strip())
    for item in items:
        system, slash, rest = item.partition("/")
        if slash and system in _SYSTEMS:
            raise click.BadParameter(f"{item!r} is a whole platform: write --os {system} --arch {rest}.")
    return items


def _file_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty name: it is an unset shell variable, and not the wish to have no file."""
    if value is not None and not value.strip():
        raise click.BadParameter("the name of the file is empty: is a variable not set?")
    return value
