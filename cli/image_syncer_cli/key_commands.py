"""What keys do: the same for a run's own display and for `top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from image_syncer_cli.screen import View

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Controlled", "KeyCommands"]

ASKED_S = 5.0
"""For how long a question waits for its answer."""
NOTICE_S = 4.0
MOST_TYPED = 8
"""Keys between two looks that somebody can have pressed one by one; more were pasted."""
_ESCAPE = "\x1b"


class Controlled(Protocol):
    """A run, here or in another process."""

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""

    @property
    def is_draining(self) -> bool:
        """Whether it begins nothing more, and ends."""

    def pause(self) -> None:
        """Begin nothing more."""

    def resume(self) -> None:
        """Go on."""

    def drain(self) -> None:
        """Begin no further image, and end."""

    def errors(self) -> Sequence[tuple[str, str]]:
        """When, and what, oldest first."""


class KeyCommands:
    """Turns keys into commands. Times are seconds of any clock. A drain cannot be taken back, so it is asked for
    twice. Where `may_leave`, `q` leaves (`left`); elsewhere it is help, since a run does not end by a slip.
    """

    def __init__(self, run: Controlled, *, may_leave: bool = False) -> None:
        self._run = run
        self._may_leave = may_leave
        self._view = View.RUN
        self._asked_at: float | None = None
        self._notice = ("", 0.0)
        self.left = False

    @property
    def line(self) -> str:
        """Which keys there are."""
        acts = f"{'p go on' if self._run.is_paused else 'p pause'} · d drain · "
        view = "e back" if self._view is View.ERRORS else "e errors"
        return f"{'' if self._run.is_draining else acts}{view} · ? help" + (" · q leave" if self._may_leave else "")

    def type(self, keys: str, now: float) -> None:
        """These came since the last look. What was pasted by mistake means nothing, and neither does a key that sends
        more than one character: both may have the letters of commands in them.
        """
        if len(keys) > MOST_TYPED:
            self._asked_at = None
            self.tell("that was pasted, and is ignored: a key is pressed alone", now)
        elif _ESCAPE not in keys:
            for key in keys:
                self.press(key, now)

    def press(self, key: str, now: float) -> None:
        """One key was pressed; one that means nothing does nothing. A question is answered by nobody before it was
        shown: a `d` that comes together with the first is none.
        """
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

    def tell(self, text: str, now: float) -> None:
        """Show `text` for a moment."""
        self._notice = (text, now)

    def shown(self, now: float) -> dict[str, Any]:
        """What of the screen depends on keys: arguments of `screen_lines`."""
        text, at = self._notice
        notice = text if now - at < NOTICE_S else ""
        if self._asked_at is not None:
            if now - self._asked_at > ASKED_S:
                self._asked_at = None
            else:
                notice = "drain: begin no further image, and end? Press d again"
        errors = self._run.errors() if self._view is View.ERRORS else ()
        return {"view": self._view, "errors": errors, "notice": notice}

    def _turn(self, view: View) -> None:
        self._view = View.RUN if self._view is view else view
