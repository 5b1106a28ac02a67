"""The doctor's checklist: a line for each check, with its mark and its time, and under it what can be done."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from image_syncer_cli.output import clip, printable, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer import Check, Examination

__all__ = ["Checklist"]

_MARKS = {"ok": "✓", "failed": "✗", "warning": "!", "skipped": "–", "not tried": "–"}
_PLAIN_MARKS = {"ok": "ok", "failed": "XX", "warning": "!!", "skipped": "--", "not tried": "--"}
_PLAIN_PUNCTUATION = str.maketrans({"–": "-", "·": "-", "→": "->", "…": "...", "µ": "u"})
_NOT_TRIED = "not tried"
_UNTRIED = ("skipped", _NOT_TRIED)
_NAME_COLUMNS = 18
_TIME_COLUMNS = 8
_CURE_COLUMNS = 2
"""What is to be done stands a little further in than what is the matter."""
_WIDTH, _LEAST_WIDTH = 110, 60
_SECOND_S = 1.0
_LEAST_BYTES = 64 * 1024
"""Of less, the rate says something about the latency only."""


class Checklist:
    """Tells checks as they come. Characters that the terminal's encoding has not are written otherwise."""

    def __init__(self, encoding: str | None = None) -> None:
        self._plain = not _can_say("✓✗–", encoding or sys.stdout.encoding)
        self._marks: Mapping[str, str] = _PLAIN_MARKS if self._plain else _MARKS
        self._untried: list[Check] = []
        self._width = max(_LEAST_WIDTH, min(_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns))

    def tell(self, check: Check) -> None:
        """One check, in a line, and its cure in those below. Those that nobody tried share a line, as far as they are
        neighbours and have one reason.
        """
        if self._untried and _reason(self._untried[-1]) != _reason(check):
            self._tell_untried()
        if check.state.value in _UNTRIED:
            self._untried.append(check)
            return
        mark = self._marks[check.state.value]
        head = f"{mark} {check.name:<{_NAME_COLUMNS}} {_time(check.seconds):>{_TIME_COLUMNS}}  "
        first, *more = self._wrap(f"{clip(printable(check.what))}{_rate(check)}", len(head))
        cure = self._wrap(printable(check.cure), len(head) + _CURE_COLUMNS) if check.cure else []
        self._say(f"{head}{first}")
        for line in more:
            self._say(" " * len(head) + line)
        for line in cure:
            self._say(" " * (len(head) + _CURE_COLUMNS) + line)

    def conclude(self, examination: Examination) -> None:
        """The last line: whether it is healthy, else what has failed first."""
        from image_syncer.units import format_duration

        self._tell_untried()
        subject, took = examination.subject, format_duration(examination.seconds)
        failures = examination.failures
        if not failures:
            warnings = sum(check.state.value == "warning" for check in examination.checks)
            more = f", {warnings} to look at" if warnings else ""
            verdict = "well" if examination.exit_code == 0 else "not examined to the end"
            self._say(f"{subject}: {verdict}{more} · {took}")
            return
        names = ", ".join(check.name for check in failures)
        self._say(f"{subject}: broken: {names} · {took}")

    def _tell_untried(self) -> None:
        if not self._untried:
            return
        names = ", ".join(check.name for check in self._untried)
        first = self._untried[0]
        mark, reason = self._marks[first.state.value], printable(_reason(first) or "")
        if len(self._untried) > 1:
            text = f"{reason}: {names}" if reason == _NOT_TRIED else f"{names}: {reason}"
            for number, line in enumerate(self._wrap(text, _CURE_COLUMNS)):
                self._say(f"{' ' * len(mark) if number else mark} {line}")
        else:
            self._say(f"{mark} {names:<{_NAME_COLUMNS}} {'':>{_TIME_COLUMNS}}  {clip(reason)}")
        self._untried.clear()

    def _wrap(self, text: str, indent: int) -> list[str]:
        return textwrap.wrap(text, self._width - indent, break_long_words=False, break_on_hyphens=False) or [""]

    def _say(self, line: str) -> None:
        say(line.translate(_PLAIN_PUNCTUATION) if self._plain else line)


def _reason(check: Check) -> str | None:
    """Why nobody tried it; None where somebody did."""
    if check.state.value == _NOT_TRIED:
        return _NOT_TRIED
    return check.what if check.state.value == "skipped" else None


def _can_say(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.1f} ms" if seconds < _SECOND_S else f"{seconds:.1f} s"


def _rate(check: Check) -> str:
    from image_syncer.units import format_rate, format_size

    if check.size_bytes is None or check.seconds is None or check.size_bytes < _LEAST_BYTES or check.seconds <= 0:
        return ""
    return f" ({format_size(check.size_bytes)}, {format_rate(check.size_bytes / check.seconds)})"
