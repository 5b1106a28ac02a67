"""`image-syncer doctor HOST[/REPO]`: finds what is wrong with a registry, or on the way to it, and what to do."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import can_show, clip, printable, say
from image_syncer_cli.options import DOCTOR_OPTIONS, options_in
from image_syncer_cli.shared_options import AUTH_OPTION, INSECURE_OPTION, REGISTRIES_OPTION, file_options
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.doctor.checks import Check
    from image_syncer.doctor.examination import Examination
    from image_syncer_cli.shared_options import Files


_MARKS = {"ok": "✓", "failed": "✗", "warning": "!", "skipped": "–", "not tried": "–"}
_PLAIN_MARKS = {"ok": "ok", "failed": "XX", "warning": "!!", "skipped": "--", "not tried": "--"}
_PLAIN_PUNCTUATION = str.maketrans({"–": "-", "·": "-", "→": "->", "…": "...", "µ": "u"})
_NOT_TRIED = "not tried"
_UNTRIED = ("skipped", _NOT_TRIED)
_NAME_COLUMNS = 18
_TIME_COLUMNS = 8
_CURE_COLUMNS = 2
"""The indent of the cure below the finding."""
_WIDTH, _LEAST_WIDTH = 110, 60
_SECOND_S = 1.0
_LEAST_BYTES = 64 * 1024
"""Of fewer bytes, the rate says only something about the latency."""


class Checklist:
    """Prints checks as they come: a line with mark and time, and below it what to do. Characters that the encoding of
    the terminal lacks are replaced.
    """

    def __init__(self, encoding: str | None = None) -> None:
        self._plain = not can_show("✓✗–", encoding)
        self._marks: Mapping[str, str] = _PLAIN_MARKS if self._plain else _MARKS
        self._untried: list[Check] = []
        self._width = max(_LEAST_WIDTH, min(_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns))

    def tell(self, check: Check) -> None:
        """Print one check. Neighbours that were not tried for the same reason share a line."""
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
        """Print the last line: whether all is well, or else which checks failed."""
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
    """Return why a check was not tried; None if it was."""
    if check.state.value == _NOT_TRIED:
        return _NOT_TRIED
    return check.what if check.state.value == "skipped" else None


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.1f} ms" if seconds < _SECOND_S else f"{seconds:.1f} s"


def _rate(check: Check) -> str:
    from image_syncer.units import format_rate, format_size

    if check.size_bytes is None or check.seconds is None or check.size_bytes < _LEAST_BYTES or check.seconds <= 0:
        return ""
    return f" ({format_size(check.size_bytes)}, {format_rate(check.size_bytes / check.seconds)})"


@click.command(cls=Verb)
@click.argument("subject", metavar="HOST[/REPO]")
@file_options(AUTH_OPTION, REGISTRIES_OPTION, INSECURE_OPTION)
@click.option(
    "--write",
    is_flag=True,
    help="Also try uploads in every form, a tag and deletes in REPO; what was written is deleted again.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@options_in(DOCTOR_OPTIONS)
def doctor(subject: str, files: Files, write: bool, as_json: bool, debug: bool, **options: Any) -> int:
    """Examine a registry step by step, as a run would meet it: name, connection, proxy, certificate, clock, login,
    rights, and what can be read. With --write, what can be written too.

    A REPO without a HOST is one of Docker Hub. A tag may be named: HOST/REPO:TAG. Without --write nothing is written.
    The exit code is 1 if something is broken.
    """
    from image_syncer import Settings, configure_logging
    from image_syncer.doctor.examination import examine

    configure_logging(level="debug" if debug else "warning")
    registries = files.load_registries().registries
    settings = Settings(**{name: value for name, value in options.items() if value is not None})
    if as_json:
        examination = examine(subject, registries, settings, write=write)
        say(json.dumps(examination.as_data(), ensure_ascii=False, indent=2, default=str))
        return examination.exit_code

    checklist = Checklist()
    examination = examine(subject, registries, settings, write=write, on_check=checklist.tell)
    checklist.conclude(examination)
    return examination.exit_code
