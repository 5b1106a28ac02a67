"""`image-syncer top`: look at a run of another process, and control it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.key_commands import KeyCommands
from image_syncer_cli.option_values import parse_rate_option, whole_number
from image_syncer_cli.options import debug_option
from image_syncer_cli.output import json_line, say
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import ControlClient, RateSchedule
    from image_syncer_cli.render import Display

__all__ = ["top"]

EVERY_S = 0.5
EXIT_GONE = 1
"""As of other things that failed: the run was killed while it was looked at."""
_MOST_STREAMS = 4096
_LINES, _COLUMNS = 1000, 203
"""Of the picture that `--once` prints into a pipe."""


@click.command(cls=Verb)
@click.argument("run", metavar="[PID|SOCKET]", required=False)
@click.option("--once", is_flag=True, help="Print the display once, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print how it goes as one JSON object, and end.")
@click.option("--pause", is_flag=True, help="Begin no further images and blobs; what is under way ends.")
@click.option("--resume", is_flag=True, help="Go on after --pause.")
@click.option("--drain", is_flag=True, help="Begin no further images; the run ends when those under way have ended.")
@click.option("--errors", is_flag=True, help="Print the last things that went wrong.")
@click.option(
    "--rate",
    callback=parse_rate_option,
    default=None,
    metavar="RATE",
    help="Most bytes a second from now on, as of sync; none: no limit.",
)
@click.option(
    "--streams",
    callback=whole_number(1, _MOST_STREAMS),
    metavar="N",
    help="Most blobs that one worker streams at a time from now on, up to what sync was given.",
)
@debug_option
@click.pass_context
def top(
    ctx: click.Context,
    *,
    run: str | None,
    once: bool,
    as_json: bool,
    pause: bool,
    resume: bool,
    drain: bool,
    errors: bool,
    rate: RateSchedule | None,
    streams: int | None,
    debug: bool,  # noqa: ARG001 - looked at where errors are told
) -> int:
    """Show how a run goes that another process of this user makes, with the keys of its own display.

    The run is named by its process number, or by the socket that --control gave it; neither is needed where there is
    only one. With an option that changes something, that is done, and nothing is shown.
    """
    if sum((pause, resume, drain)) > 1:
        raise click.UsageError("--pause, --resume and --drain do not go together.")
    from image_syncer import ControlClient

    client = ControlClient(_find(run))
    try:
        commands: list[tuple[str, dict[str, Any]]] = []
        if ctx.get_parameter_source("rate") is click.core.ParameterSource.COMMANDLINE:
            commands.append(("rate", {"rate": "none" if rate is None else str(rate)}))
        if streams is not None:
            commands.append(("streams", {"streams": streams}))
        commands += [(name, {}) for name, wanted in (("pause", pause), ("resume", resume), ("drain", drain)) if wanted]
        for name, given in commands:
            say(_words_of(name, client.ask(name, **given)))
        if errors:
            say("\n".join(f"{one['at']} {one['text']}" for one in client.ask("errors")["errors"]) or "no errors so far")
        if as_json:
            say(json_line(client.ask("status")))
        if once:
            _print_once(client)
        if not (commands or errors or as_json or once):
            return _look_on(client)
    finally:
        client.close()
    return 0


def _find(run: str | None) -> str:
    """The socket that is meant. Raises UsageError where that is not clear."""
    from image_syncer import control_socket_of, control_sockets

    if run is None:
        found = control_sockets(os.environ)
        if len(found) == 1:
            return found[0]
        if not found:
            raise click.UsageError("no run of this user is under way; one elsewhere is named by its PID or its socket.")
        numbers = ", ".join(Path(path).stem for path in found)
        raise click.UsageError(f"there are several runs: say which by its PID, one of {numbers}.")
    if not run.isdecimal():
        return run
    path = control_socket_of(os.environ, int(run))
    if path is None:
        raise click.UsageError(
            f"process {run} has no socket where runs have theirs: it is no run, or has ended, or was given --control."
        )
    return path


def _words_of(command: str, answer: dict[str, Any]) -> str:
    if command == "rate":
        rate = answer["rate"]
        return "rate: no limit" if rate == "none" else f"rate: {rate}"
    if command == "streams":
        return f"streams: {answer['streams']} at most in each worker"
    if answer["draining"]:
        return "drains: begins nothing more, and ends when what is under way has ended"
    return "paused" if answer["paused"] else "goes on"


def _print_once(client: ControlClient) -> None:
    from image_syncer import read_snapshot
    from image_syncer_cli.screen import screen_lines

    told = client.ask("status")
    snapshot = read_snapshot(told)
    columns = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else _COLUMNS
    if snapshot is None:
        say("\n".join(_sentences(told)))
    else:
        say("\n".join(line.text.rstrip() for line in screen_lines(snapshot, columns, _LINES)))


def _sentences(told: dict[str, Any]) -> list[str]:
    """What is said where no run is under way: how a watch stands that waits for its next round."""
    from image_syncer_cli.watch_lines import watch_lines

    if told.get("watch") is None:
        return ["no run is under way there now"]
    return watch_lines(told, datetime.now().astimezone())


@dataclass
class _Distant:
    """The run at the other end, as keys know it."""

    client: ControlClient
    is_paused: bool = False
    is_draining: bool = False

    def pause(self) -> None:
        """See `Controlled`."""
        self.client.ask("pause")

    def resume(self) -> None:
        """See `Controlled`."""
        self.client.ask("resume")

    def drain(self) -> None:
        """See `Controlled`."""
        self.client.ask("drain")

    def errors(self) -> Sequence[tuple[str, str]]:
        """See `Controlled`."""
        return [(one["at"], one["text"]) for one in self.client.ask("errors")["errors"]]


def _look_on(client: ControlClient) -> int:
    """The display, until the run ends or somebody leaves."""
    from image_syncer import read_snapshot

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # so that the terminal is given back
    distant = _Distant(client)
    commands = KeyCommands(distant, may_leave=True)
    display = _display(commands)
    try:
        while not client.ended and not commands.left:
            began = time.monotonic()
            told = client.ask("status")
            distant.is_paused, distant.is_draining = bool(told.get("paused")), bool(told.get("draining"))
            snapshot = read_snapshot(told)
            if snapshot is not None:
                display.update(snapshot)
            else:
                display.tell(_sentences(told))
            _wait(began + EVERY_S, lambda: commands.left)
    except Exception as error:
        from image_syncer import SyncError

        if not (isinstance(error, SyncError) and client.ended):
            raise
    finally:
        display.close()
    if client.ended:
        say(client.end_words, err=True)
    return EXIT_GONE if client.ended and not client.said_so else 0


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _display(commands: KeyCommands) -> Display:
    from image_syncer_cli.live_display import LiveDisplay
    from image_syncer_cli.render import LineDisplay, is_live_terminal

    return LiveDisplay(commands=commands) if is_live_terminal() else LineDisplay()


def _wait(until: float, left: Callable[[], bool]) -> None:
    """A key ends the wait."""
    seconds = max(0.0, until - time.monotonic())
    if sys.stdin is not None and sys.stdin.isatty() and not left():
        select.select([sys.stdin.fileno()], [], [], seconds)
    else:
        time.sleep(seconds)
