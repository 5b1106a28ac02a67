"""What the values of options become: callbacks for click, which say what is wrong with one in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import RateSchedule

__all__ = [
    "conflict_policy",
    "file_name",
    "insecure_hosts",
    "parse_any_size",
    "parse_duration_option",
    "parse_duration_or_none",
    "parse_rate_option",
    "parse_size_option",
    "referrer_selection",
    "split_lists",
    "whole_number",
]

_SHOWN_CHARACTERS = 40
_MOST = 1_000_000
_LONGEST_S = 366 * 86400
"""More than any run takes."""
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})


def conflict_policy(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A callback for click: what is done about conflicts, in the words of the command line."""
    if value is None:
        return None
    from image_syncer import parse_on_conflict

    try:
        return str(parse_on_conflict(value))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def referrer_selection(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A callback for click: which referrers are carried along, in the words of the command line."""
    if value is None:
        return None
    from image_syncer import parse_referrer_selection

    try:
        return str(parse_referrer_selection(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_size_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A callback for click: bytes, of which there must be some."""
    size_bytes = parse_any_size(_ctx, _param, value)
    if size_bytes is not None and size_bytes < 1:
        raise click.BadParameter("it must be more than nothing.")
    return size_bytes


def parse_any_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A callback for click: bytes, or 0."""
    if value is None:
        return None
    from image_syncer.units import parse_size

    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def whole_number(
    at_least: int, at_most: int = _MOST
) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """A callback for click: a whole number that is neither too small nor too large."""

    def parse(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError:
            shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
            raise click.BadParameter(f"{shown!r} is not a whole number.") from None
        if number < at_least:
            raise click.BadParameter(f"{number} is too small: it must be {at_least} or more.")
        if number > at_most:
            raise click.BadParameter(f"it is too large: it must be {at_most:,} or less.")
        return number

    return parse


def parse_duration_or_none(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A callback for click: seconds, or 0."""
    if value is not None and value.strip() in ("0", "0s"):
        return 0.0
    return parse_duration_option(_ctx, _param, value)


def parse_duration_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A callback for click: seconds, of which there must be some."""
    if value is None:
        return None
    from image_syncer.units import parse_duration

    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    if not 0 < seconds <= _LONGEST_S:
        raise click.BadParameter("it must be more than nothing, and a year at most.")
    return seconds


def parse_rate_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> RateSchedule | None:
    """A callback for click: bytes a second, perhaps by the time of day."""
    if value is None:
        return None
    from image_syncer import RateSchedule

    try:
        return RateSchedule.parse(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def split_lists(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """`--arch amd64,arm64 --arch arm` and any mixture; empty items are dropped, as the Go tool does."""
    items = tuple(item.strip() for value in values for item in value.split(",") if item.strip())
    for item in items:
        system, slash, rest = item.partition("/")
        if slash and system in _SYSTEMS:
            raise click.BadParameter(f"{item!r} is a whole platform: write --os {system} --arch {rest}.")
    return items


def insecure_hosts(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """The hosts of `--insecure`, which are told to the user again: none with a user name and a password."""
    if any("@" in value for value in values):
        raise click.BadParameter("write the host alone: user names and passwords go into the auth file.")
    return tuple(values)


def file_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """An empty name is a variable of the shell that was not set, and not the wish to have no file."""
    if value is not None and not value.strip():
        raise click.BadParameter("the name of the file is empty: is a variable not set?")
    return value
