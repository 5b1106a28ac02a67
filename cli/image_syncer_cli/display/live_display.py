"""The live display: lines at the bottom of the terminal, of which only changes are written.

It replaces `sys.stderr` (and `sys.stdout`, if that is the terminal too), so that other output is printed above it. A
process in the background draws nothing. A run never waits for a terminal that is not read (a broken line, ^S): writes
do not block. O_NONBLOCK belongs to the open file, which the shell shares, so the terminal is opened again.
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

from image_syncer_cli.display.key_commands import KeyCommands
from image_syncer_cli.display.output import GONE, silence
from image_syncer_cli.display.render import Display
from image_syncer_cli.display.screen import Controls, is_utf8, screen_lines, sentence_lines, width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import RunControl, Snapshot
    from image_syncer_cli.display.screen import Line


_MAX_WAITING_BYTES = 256 * 2**10
"""Of output for a terminal that is not read; more is left out."""
END_S = 1.0
"""How long the end waits for the terminal."""
_MAX_KEY_BYTES = 64 * 2**10
"""More than a terminal holds (termios(3), MAX_INPUT): pasted text is read at once, and recognized."""
_LOCAL_FLAGS = 3
"""In the list of termios.tcgetattr."""
BYTES_PER_S = 4000
"""Written at most, on average: 64 kbit/s carry twice as many."""
BURST_BYTES = 8000
"""A first picture of a large terminal."""


class Outlet:
    """The terminal of `stream`. If it is none, or cannot be opened, writes go to the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._fd = _opened_again(stream)
        self._waiting = b""
        self._left_out = 0

    @property
    def is_free(self) -> bool:
        """Whether everything was written out, as far as can be known."""
        if self._fd is None:
            return self._takes_something()
        self._push()
        return not self._waiting

    @property
    def is_in_background(self) -> bool:
        """Whether this process is in the background of the terminal: after `&`, or `bg`."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) != os.getpgrp()
        except (OSError, ValueError):
            return False  # no terminal, or not that of this session

    def write(self, text: str, *, must: bool = False) -> None:
        """Write `text` as soon as the terminal takes it; in the background, only with `must`."""
        if not must and self.is_in_background:
            return
        if self._fd is None:
            self._write_plainly(text)
            return
        data = text.encode(self._encoding, "replace")
        if len(self._waiting) + len(data) > _MAX_WAITING_BYTES:
            self._left_out += text.count("\n")
            return
        self._waiting += data
        self._push()

    def close(self, *, wait: bool = True) -> None:
        """Write what waits; without `wait`, drop what is not taken at once."""
        if self._fd is None:
            return
        until = time.monotonic() + (END_S if wait else 0.0)
        while not self.is_free and (left := until - time.monotonic()) > 0:
            select.select([], [self._fd], [], left)
        if self._left_out and self.is_free:
            self._waiting = f"… {self._left_out:,} lines were left out: the terminal took nothing\r\n".encode()
            self._push()
        os.close(self._fd)
        self._fd = None

    def _push(self) -> None:
        while self._waiting and self._fd is not None:
            try:
                taken = os.write(self._fd, self._waiting)
            except BlockingIOError:
                return
            except OSError as error:
                self._waiting = b""
                if error.errno in GONE:
                    silence(self._stream)
                return
            self._waiting = self._waiting[taken:]

    def _takes_something(self) -> bool:
        """Return whether a terminal that cannot be opened again (another user's, after `su`) takes anything."""
        try:
            return bool(select.select([], [self._stream.fileno()], [], 0)[1])
        except (OSError, ValueError):
            return True  # none, or gone: the write will fail

    def _write_plainly(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            if error.errno not in GONE:
                raise
            silence(self._stream)


def _opened_again(stream: TextIO) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        if not os.isatty(number := stream.fileno()):
            return None
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        for name in (f"/proc/self/fd/{number}", os.ttyname(number)):
            with contextlib.suppress(OSError):
                return os.open(name, flags)
    return None


class Keys:
    """The keys of the terminal at `file_descriptor` (standard input)."""

    def __init__(self, file_descriptor: int) -> None:
        self._fd = file_descriptor
        self._saved: list[Any] | None = None
        self.take()

    @classmethod
    def of_stdin(cls) -> Keys | None:
        """Return those of standard input; None if it is no terminal."""
        try:
            if not sys.stdin.isatty():
                return None
            return cls(sys.stdin.fileno())
        except (OSError, ValueError, AttributeError, termios.error):
            return None

    @property
    def is_ours(self) -> bool:
        """Whether keys come to this process: it is in the foreground, and the terminal is set up."""
        return self._saved is not None

    def take(self) -> None:
        """Set the terminal to deliver each key at once, if this process is in the foreground; again if a shell has
        reset it meanwhile (after SIGSTOP, which cannot be handled).
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
        """Restore the terminal, without waiting for output (TCSANOW): it may not be read."""
        saved, self._saved = self._saved, None
        if saved is None or not self._in_foreground():
            return
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)

    def pressed(self) -> str:
        """Return what was pressed since the last call; never waits."""
        self.take()
        if self._saved is None:
            return ""
        try:
            ready, _, _ = select.select([self._fd], [], [], 0)
            return os.read(self._fd, _MAX_KEY_BYTES).decode("utf-8", "replace") if ready else ""
        except OSError:
            return ""

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False


class JobControl:
    """Calls `on_stop` before the process stops (SIGTSTP) or quits (SIGQUIT), and `on_go` when it continues. Does
    nothing outside the main thread.
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
        """Restore the handlers."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            with contextlib.suppress(ValueError):
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _stop(self, *_: object) -> None:
        """Stop as without a handler; returns after SIGCONT: `fg`, or `bg`."""
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
        """Show `lines` if the budget of bytes at `now` (seconds of any clock) has room; return whether it had."""
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
        # A picture that exceeds the whole budget is drawn too, and then none for a while.
        if len(text) > self._allowance < BURST_BYTES or not self._outlet.is_free:
            return False
        self._allowance -= len(text)
        self._shown, self._drawn_for = list(lines), size
        self._write(text)
        return True

    def erase(self) -> None:
        """Erase the lines; the cursor is at the begin of the first of them."""
        text = self._erased(self._size())
        self.forget()
        self._write(text)

    def forget(self) -> None:
        """Forget what was drawn: a shell has used the terminal meanwhile."""
        self._shown, self._drawn_for = [], (0, 0)

    def above(self, text: str) -> None:
        """Write `text`, whole lines, above the region, which is drawn again."""
        if self._outlet.is_in_background:
            self.forget()
        erased = self._erased(self._size())
        if not self._outlet.is_free:
            self.forget()
        self._write(erased + text + _changes([], self._shown, colors=self._colors), must=True)

    def close(self, *, wait: bool = True) -> None:
        """Erase the region for good. See `Outlet.close`."""
        if wait or self._outlet.is_free:
            self.erase()
        self._outlet.close(wait=wait)

    def _erased(self, size: tuple[int, int]) -> str:
        """Return what erases the shown lines, which a narrower terminal may have wrapped."""
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
    """Return what turns the lines that are `shown` into `lines`."""
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
    """Move up, or down: over existing lines by a sequence, beyond them by new lines, which may scroll."""
    if rows < 0:
        return f"\x1b[{-rows}A"
    there = min(rows, max(0, limit))
    return (f"\x1b[{there}B" if there else "") + "\r\n" * (rows - there)


class _Above:
    """Replaces a stream: whole lines go above the region."""

    def __init__(self, stream: TextIO, region: Region) -> None:
        self._stream = stream
        self._region = region
        self._rest = ""

    def write(self, text: str) -> int:
        """Write as a stream does."""
        whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._region.above(whole.replace("\n", "\r\n") + "\r\n")
        return len(text)

    def flush(self) -> None:
        """Do nothing: an incomplete line waits for its end."""

    def end(self) -> None:
        """Write an incomplete line."""
        if self._rest:
            self._stream.write(self._rest)
            self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LiveDisplay(Display):
    """Bar, counts, registries, workers and the slowest transfers; at the end it is erased. With a `control`, or with
    `commands`, keys act on the run if standard input is the terminal.
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
        """Read keys, and draw what has changed."""
        self._show(partial(screen_lines, snapshot))

    def tell(self, sentences: Sequence[str]) -> None:
        """Do the same while there is no run."""
        self._show(partial(sentence_lines, sentences))

    def _show(self, lines: Callable[..., list[Line]]) -> None:
        self._last, now = lines, time.monotonic()
        controls = Controls()
        if self._keys is not None and self._commands is not None:
            if pressed := self._keys.pressed():
                self._commands.type(pressed, now)
            controls = self._commands.shown(now, with_keys=self._keys.is_ours)
        drawn = lines(*self._size(), controls)
        self._region.draw([line.in_ascii() for line in drawn] if self._is_ascii else drawn, now)

    def close(self, *, wait: bool = True) -> None:
        """Erase the display, and restore the terminal. Without `wait`, drop what is not taken at once."""
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
        """Close at once: the process is about to end."""
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
