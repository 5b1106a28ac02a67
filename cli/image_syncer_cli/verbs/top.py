"""`image-syncer top`: shows a run of another process, and controls it."""

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

from image_syncer_cli.display.key_commands import KeyCommands
from image_syncer_cli.display.output import json_line, say
from image_syncer_cli.option_values import number_option, rate_option
from image_syncer_cli.options import MAX_STREAMS, quiet_debug_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import RateSchedule
    from image_syncer.control.client import ControlClient
    from image_syncer_cli.display.render import Display


EVERY_S = 0.5
EXIT_GONE = 1
"""The run was killed while it was shown."""
_LINES, _COLUMNS = 1000, 203
"""Size of the display that `--once` prints into a pipe."""


@click.command(cls=Verb)
@click.argument("run", metavar="[PID|SOCKET]", required=False)
@click.option("--once", is_flag=True, help="Print the display once, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the state of the run as one JSON object, and exit.")
@click.option("--pause", is_flag=True, help="Start no further images and blobs; those in progress finish.")
@click.option("--resume", is_flag=True, help="Continue after --pause.")
@click.option("--drain", is_flag=True, help="Start no further images; the run ends when those in progress finish.")
@click.option("--errors", is_flag=True, help="Print the latest errors.")
@rate_option("Maximum bytes per second from now on, as for sync; none: no limit.")
@number_option(
    "--streams",
    at_most=MAX_STREAMS,
    help="Maximum number of blobs that one worker streams at a time from now on, up to the --streams of sync.",
)
@quiet_debug_option
@click.pass_context
def top(  # noqa: PLR0913 - one parameter an option
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
) -> int:
    """Show a run of another process of this user, with the keys of its own display.

    Name the run by its process ID, or by the socket of its --control; neither is needed if there is only one run. An
    option that changes something does that, and shows nothing.
    """
    if sum((pause, resume, drain)) > 1:
        raise click.UsageError("--pause, --resume and --drain do not go together.")
    from image_syncer.control.client import ControlClient

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
    """Return the socket of the run. Raises UsageError where that is not clear."""
    from image_syncer.control.paths import control_socket_of, control_sockets

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
    return "paused" if answer["paused"] else "running"


def _print_once(client: ControlClient) -> None:
    from image_syncer.control.client import read_snapshot
    from image_syncer_cli.display.screen import screen_lines

    told = client.ask("status")
    snapshot = read_snapshot(told)
    columns = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else _COLUMNS
    if snapshot is None:
        say("\n".join(_sentences(told)))
    else:
        say("\n".join(line.text.rstrip() for line in screen_lines(snapshot, columns, _LINES)))


def _sentences(told: dict[str, Any]) -> list[str]:
    """Return the sentences to show while there is no run: the state of a watch that waits for its next round."""
    from image_syncer_cli.display.watch_view import watch_lines

    if told.get("watch") is None:
        return ["no run is under way there now"]
    return watch_lines(told, datetime.now().astimezone())


@dataclass
class _Distant:
    """The run of the other process, as `Controlled` by keys."""

    client: ControlClient
    is_paused: bool = False
    is_draining: bool = False

    def pause(self) -> None:
        self.client.ask("pause")

    def resume(self) -> None:
        self.client.ask("resume")

    def drain(self) -> None:
        self.client.ask("drain")

    def errors(self) -> Sequence[tuple[str, str]]:
        return [(one["at"], one["text"]) for one in self.client.ask("errors")["errors"]]


def _look_on(client: ControlClient) -> int:
    """Show the display until the run ends or the user leaves."""
    from image_syncer.control.client import read_snapshot

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
    from image_syncer_cli.display.live_display import LiveDisplay
    from image_syncer_cli.display.render import LineDisplay, is_live_terminal

    return LiveDisplay(commands=commands) if is_live_terminal() else LineDisplay()


def _wait(until: float, left: Callable[[], bool]) -> None:
    """Wait until a time or a key."""
    seconds = max(0.0, until - time.monotonic())
    if sys.stdin is not None and sys.stdin.isatty() and not left():
        select.select([sys.stdin.fileno()], [], [], seconds)
    else:
        time.sleep(seconds)
