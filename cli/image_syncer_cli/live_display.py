"""The live display: a few lines at the bottom of the terminal, of which only what has changed is written anew.

It stands in for `sys.stderr` (and for `sys.stdout`, if that is the terminal too), so that what is printed meanwhile
comes above it. What is written a second is bounded, and a terminal that takes nothing is not waited for (`outlet.py`):
a display over a slow line must not hold up the run. In the background nothing is drawn: the terminal is another's.

A process that is stopped (^Z, or by somebody's SIGSTOP) and goes on, in the foreground or in the background.

Keys that are pressed while a run goes on, read without waiting for them.

The terminal is told to hand out every key at once and to show none (termios(3): ICANON and ECHO off; ^C and ^Z do what
they always do). It gets its old settings back when the run ends, when the process is stopped (^Z) and before it ends by
a signal. A process in the background does not touch it: the kernel would stop it (SIGTTOU).
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from image_syncer_cli.cells import is_utf8, width_of
from image_syncer_cli.key_commands import KeyCommands
from image_syncer_cli.outlet import Outlet
from image_syncer_cli.render import Display
from image_syncer_cli.screen import screen_lines, sentence_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import RunControl, Snapshot
    from image_syncer_cli.screen import Line

__all__ = ["JobControl", "Keys", "LiveDisplay", "Region"]


_MOST_BYTES = 64 * 2**10
"""More than a terminal holds (termios(3), MAX_INPUT): what was pasted is read at once, and seen to be that."""
_LOCAL_FLAGS = 3
"""In the list of termios.tcgetattr."""


class Keys:
    """Of the terminal at `file_descriptor` (standard input)."""

    def __init__(self, file_descriptor: int) -> None:
        self._fd = file_descriptor
        self._saved: list[Any] | None = None
        self.take()

    @classmethod
    def of_stdin(cls) -> Keys | None:
        """Those of standard input; None where it is no terminal."""
        try:
            if not sys.stdin.isatty():
                return None
            return cls(sys.stdin.fileno())
        except (OSError, ValueError, AttributeError, termios.error):
            return None

    @property
    def is_ours(self) -> bool:
        """Whether keys come to us: we are in the foreground, and the terminal knows."""
        return self._saved is not None

    def take(self) -> None:
        """Have keys handed out at once, if this process is in the foreground; also where a shell has set the terminal
        back meanwhile, since we were stopped in a way of which we were not told (SIGSTOP).
        """
        if not self._in_foreground():
            self._saved = None
            return
        with contextlib.suppress(termios.error):
            found = termios.tcgetattr(self._fd)
            wanted = [*found]
            wanted[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
            if wanted != found:
                termios.tcsetattr(self._fd, termios.TCSANOW, wanted)
                self._saved = found
            elif self._saved is None:
                self._saved = found

    def give_back(self) -> None:
        """The terminal is as it was. Does not wait for what was written: it may not be read (TCSANOW)."""
        saved, self._saved = self._saved, None
        if saved is None or not self._in_foreground():
            return
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)

    def pressed(self) -> str:
        """What was pressed since the last time; cheap, and never waits."""
        self.take()
        if self._saved is None:
            return ""
        try:
            ready, _, _ = select.select([self._fd], [], [], 0)
            return os.read(self._fd, _MOST_BYTES).decode("utf-8", "replace") if ready else ""
        except OSError:
            return ""

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False


class JobControl:
    """`on_stop` is called before the process stops, where it is told so (SIGSTOP tells nobody); `on_go` when it goes
    on. `on_stop` comes before SIGQUIT ends the process, too. In another thread than the main one it does nothing.
    """

    def __init__(self, *, on_stop: Callable[[], None], on_go: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._on_go = on_go
        self._before: dict[signal.Signals, Any] = {}
        handlers = ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._go), (signal.SIGQUIT, self._quit))
        for number, handler in handlers:
            with contextlib.suppress(ValueError):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, handler)

    def close(self) -> None:
        """Give the signals back."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            with contextlib.suppress(ValueError):
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _stop(self, *_: object) -> None:
        """Stop as if we had not listened; it returns when somebody has sent SIGCONT: `fg`, or `bg`."""
        self._on_stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)

    def _quit(self, number: int, _frame: object) -> None:
        self._on_stop()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _go(self, *_: object) -> None:
        self._on_go()


BYTES_PER_S = 4000
"""Written at most, on average: 64 kbit/s take twice as many."""
BURST_BYTES = 8000
"""A first picture of a large terminal."""


class Region:
    """Lines at the bottom of `stream`'s terminal. The cursor rests at the end of the last of them."""

    def __init__(self, stream: TextIO, size: Callable[[], tuple[int, int]], *, colors: bool) -> None:
        self._outlet = Outlet(stream)
        self._size = size
        self._colors = colors
        self._shown: list[Line] = []
        self._drawn_for = (0, 0)
        self._allowance = float(BURST_BYTES)
        self._seen_at: float | None = None
        self.written = 0
        """Bytes, so far."""

    def draw(self, lines: list[Line], now: float) -> bool:
        """Show `lines`, if the budget of bytes at `now` (seconds of any clock) has room; whether it was done."""
        if self._seen_at is not None:
            self._allowance = min(BURST_BYTES, self._allowance + (now - self._seen_at) * BYTES_PER_S)
        self._seen_at = now
        if self._outlet.is_in_background:
            self.forget()
            return False
        size = self._size()
        if size == self._drawn_for:
            text = _changes(self._shown, lines, colors=self._colors)
        else:
            text = self._erased(size) + _changes([], lines, colors=self._colors)
        # A picture that is larger than that is drawn all the same, and then none for a while.
        if len(text) > self._allowance < BURST_BYTES or not self._outlet.is_free:
            return False
        self._allowance -= len(text)
        self._shown, self._drawn_for = list(lines), size
        self._write(text)
        return True

    def erase(self) -> None:
        """Take it away; the cursor is where it was before the first of its lines."""
        text = self._erased(self._size())
        self.forget()
        self._write(text)

    def forget(self) -> None:
        """What was drawn is no longer where it was: a shell has had the terminal meanwhile."""
        self._shown, self._drawn_for = [], (0, 0)

    def above(self, text: str) -> None:
        """Write `text`, whole lines, above it; what is drawn comes back at once, or when the terminal takes it."""
        if self._outlet.is_in_background:
            self.forget()
        erased = self._erased(self._size())
        if not self._outlet.is_free:
            self.forget()
        self._write(erased + text + _changes([], self._shown, colors=self._colors), must=True)

    def close(self, *, wait: bool = True) -> None:
        """It is erased, and nothing more is drawn. See `Outlet.close`."""
        if wait or self._outlet.is_free:
            self.erase()
        self._outlet.close(wait=wait)

    def _erased(self, size: tuple[int, int]) -> str:
        """What takes away the lines that are shown, which a narrower terminal may have broken into several each."""
        if not self._shown:
            return ""
        width = max(1, size[0])
        rows = sum(max(1, -(-width_of(line.text) // width)) for line in self._shown)
        up = min(rows - 1, max(0, size[1] - 1))
        return "\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J"

    def _write(self, text: str, *, must: bool = False) -> None:
        if text:
            self.written += len(text.encode())
            self._outlet.write(text, must=must)


def _changes(shown: list[Line], lines: list[Line], *, colors: bool) -> str:
    """What turns the lines that are `shown` into `lines`."""
    text, at, there = "", max(0, len(shown) - 1), len(shown)
    for row, line in enumerate(lines):
        if row < len(shown) and shown[row] == line:
            continue
        text += _move(row - at, limit=there - 1 - at)
        text += f"\r{line.styled() if colors else line.text}\x1b[K"
        at, there = row, max(there, row + 1)
    if len(lines) < len(shown):
        text += _move(len(lines) - at, limit=there - 1 - at) + "\r\x1b[J"
        at = len(lines)
    if text and lines:
        text += _move(len(lines) - 1 - at, limit=there - 1 - at) + "\r"
        if lines[-1].text:
            text += f"\x1b[{width_of(lines[-1].text)}C"
    return text


def _move(rows: int, *, limit: int) -> str:
    """Up, or down: over lines that are there by a sequence, and beyond by new ones, which may scroll."""
    if rows < 0:
        return f"\x1b[{-rows}A"
    there = min(rows, max(0, limit))
    return (f"\x1b[{there}B" if there else "") + "\r\n" * (rows - there)


class _Above:
    """Stands in for a stream: whole lines go above the region."""

    def __init__(self, stream: TextIO, region: Region) -> None:
        self._stream = stream
        self._region = region
        self._rest = ""

    def write(self, text: str) -> int:
        """As of a stream."""
        whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._region.above(whole.replace("\n", "\r\n") + "\r\n")
        return len(text)

    def flush(self) -> None:
        """As of a stream; a line that is not whole waits for its end."""

    def end(self) -> None:
        """Write what waits."""
        if self._rest:
            self._stream.write(self._rest)
            self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LiveDisplay(Display):
    """Bar, counts, registries, workers, and the slowest transfers; it leaves no trace. With a `control`, or with
    `commands`, keys act on the run, if standard input is the terminal.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        size: Callable[[], tuple[int, int]] | None = None,
        colors: bool | None = None,
        control: RunControl | None = None,
        commands: KeyCommands | None = None,
    ) -> None:
        self._stream = stream or sys.stderr
        self._size = size or self._ask_size
        self._region = Region(
            self._stream, self._size, colors=not os.environ.get("NO_COLOR") if colors is None else colors
        )
        self._last: Callable[..., list[Line]] | None = None
        self._commands = KeyCommands(control) if control is not None else commands
        self._is_ascii = not is_utf8(os.environ)
        self._keys = Keys.of_stdin() if self._commands is not None else None
        self._job = JobControl(on_stop=self._on_stop, on_go=self._on_go)
        if control is not None:
            control.on_hurry = self._hurry
        self._replaced: list[tuple[str, TextIO, Any]] = []
        self._stand_in()

    def update(self, snapshot: Snapshot) -> None:
        """Reads keys, and draws what has changed."""
        self._show(partial(screen_lines, snapshot))

    def tell(self, sentences: Sequence[str]) -> None:
        """The same where there is no run."""
        self._show(partial(sentence_lines, sentences))

    def _show(self, lines: Callable[..., list[Line]]) -> None:
        self._last, now = lines, time.monotonic()
        keys = ""
        if self._keys is not None and self._commands is not None:
            if pressed := self._keys.pressed():
                self._commands.type(pressed, now)
            keys = self._commands.line if self._keys.is_ours else ""
        width, height = self._size()
        shown = {} if self._commands is None else self._commands.shown(now)
        drawn = lines(width, height, keys=keys, **shown)
        self._region.draw([line.in_ascii() for line in drawn] if self._is_ascii else drawn, now)

    def close(self, *, wait: bool = True) -> None:
        """Takes the display away, and gives the terminal back. Without `wait`, what is not taken at once is dropped."""
        for name, real, stand_in in self._replaced:
            if getattr(sys, name) is stand_in:
                setattr(sys, name, real)
        if self._keys is not None:
            self._keys.give_back()
        self._job.close()
        self._region.close(wait=wait)
        for _, _, stand_in in self._replaced if wait else ():
            stand_in.end()
        self._replaced = []

    def _hurry(self) -> None:
        """The process is about to end, and waits for nobody."""
        self.close(wait=False)

    def _on_stop(self) -> None:
        self._region.erase()
        if self._keys is not None:
            self._keys.give_back()

    def _on_go(self) -> None:
        self._region.forget()
        if self._last is not None:
            self._show(self._last)

    def _stand_in(self) -> None:
        names = ["stderr"] if self._stream is sys.stderr else []
        if names and sys.stdout.isatty():
            names.append("stdout")
        for name in names:
            real = getattr(sys, name)
            stand_in: Any = _Above(real, self._region)
            self._replaced.append((name, real, stand_in))
            setattr(sys, name, stand_in)

    def _ask_size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            size = shutil.get_terminal_size()
        return (size.columns or 80, size.lines or 24)
