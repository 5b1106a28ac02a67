"""What keys do, in the display of a run and in `top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from image_syncer_cli.display.screen import Controls, View

if TYPE_CHECKING:
    from collections.abc import Sequence


ASKED_S = 5.0
"""How long a question waits for its answer."""
_NOTICE_S = 4.0
_MAX_TYPED = 8
"""Keys between two reads that can have been pressed one by one; more were pasted."""
_ESCAPE = "\x1b"


class Controlled(Protocol):
    """A run, here or in another process."""

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""

    @property
    def is_draining(self) -> bool:
        """Whether it starts no further images, and ends."""

    def pause(self) -> None:
        """Start nothing more."""

    def resume(self) -> None:
        """Continue."""

    def drain(self) -> None:
        """Start no further images, and end."""

    def errors(self) -> Sequence[tuple[str, str]]:
        """Return times and texts, oldest first."""


class KeyCommands:
    """Turns keys into commands. Times are seconds of any clock. A drain is final, so its key must be pressed twice.
    With `may_leave`, `q` leaves (`left`); without it, `q` shows the help: a slip must not end a run.
    """

    def __init__(self, run: Controlled, *, may_leave: bool = False) -> None:
        self._run = run
        self._may_leave = may_leave
        self._view = View.RUN
        self._asked_at: float | None = None
        self._notice = ("", 0.0)
        self.left = False

    def _line(self) -> str:
        acts = f"{'p go on' if self._run.is_paused else 'p pause'} · d drain · "
        view = "e back" if self._view is View.ERRORS else "e errors"
        return f"{'' if self._run.is_draining else acts}{view} · ? help" + (" · q leave" if self._may_leave else "")

    def type(self, keys: str, now: float) -> None:
        """Handle the keys since the last read. Pasted text and keys that send several characters are ignored: both may
        have the letters of commands in them.
        """
        if len(keys) > _MAX_TYPED:
            self._asked_at = None
            self._tell("that was pasted, and is ignored: a key is pressed alone", now)
        elif _ESCAPE not in keys:
            for key in keys:
                self.press(key, now)

    def press(self, key: str, now: float) -> None:
        """Handle one key. A second `d` counts only after the question was shown: not if it comes with the first."""
        asked, self._asked_at = self._asked_at, None
        if key == "p":
            if self._run.is_paused:
                self._run.resume()
            else:
                self._run.pause()
        elif key == "d" and not self._run.is_draining:
            if asked is not None and asked < now <= asked + ASKED_S:
                self._run.drain()
            else:
                self._asked_at = now
        elif key == "e":
            self._turn(View.ERRORS)
        elif key == "q" and self._may_leave:
            self.left = True
        elif key in ("?", "q", "h"):
            self._turn(View.HELP)

    def _tell(self, text: str, now: float) -> None:
        self._notice = (text, now)

    def shown(self, now: float, *, with_keys: bool = True) -> Controls:
        """Return what of the screen depends on keys."""
        text, at = self._notice
        notice = text if now - at < _NOTICE_S else ""
        if self._asked_at is not None:
            if now - self._asked_at > ASKED_S:
                self._asked_at = None
            else:
                notice = "drain: begin no further image, and end? Press d again"
        errors = self._run.errors() if self._view is View.ERRORS else ()
        return Controls(self._view, errors, self._line() if with_keys else "", notice)

    def _turn(self, view: View) -> None:
        self._view = View.RUN if self._view is view else view
