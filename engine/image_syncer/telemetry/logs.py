"""Logs: structlog with a pipeline of our own, so that a program around the engine keeps its configuration.

Nothing is written before `configure_logging`. Every value passes `redact` before it is rendered, and fields that are
named like secrets are emptied. Lines of other libraries through `logging` (asyncio, aiohttp) go the same way. structlog
is imported with the first line that is really written (`log_lines`): it takes a quarter of a command's start, and most
runs log nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from image_syncer.errors import ConfigurationError
from image_syncer.nonblocking_write import write_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.telemetry.log_lines import Renderer


LOG_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Levels by name, with the numbers that `logging` gives them."""

_SILENT = 1000


class _Sink:
    """One destination of logs, with its level and its renderer."""

    def __init__(self, stream: TextIO | None, level: int, log_format: str, *, colors: bool) -> None:
        self.level = level
        self._stream = stream
        self._format = log_format
        self._colors = colors
        self._renderer: Renderer | None = None
        self._lost = 0

    def write(self, event: Mapping[str, Any]) -> None:
        if self._renderer is None:
            from image_syncer.telemetry.log_lines import renderer_of

            self._renderer = renderer_of(self._format, colors=self._colors)
        # sys.stderr is looked up each time: a live display replaces it, and prints logs above its own lines.
        stream = self._stream if self._stream is not None else sys.stderr
        try:
            is_read = write_line(stream, self._renderer(None, "", dict(event)))
        except (OSError, ValueError) as error:
            # The reader has gone, or the disk is full. The run continues without this log.
            self.level = _SILENT
            get_logger(__name__).warning("a log cannot be written any more", reason=str(error))
            return
        if not is_read:
            self._lost += 1
        elif self._lost:
            lost, self._lost = self._lost, 0
            get_logger(__name__).warning("lines of a log were lost, since nobody read them", lines=lost)

    def close(self) -> None:
        if self._stream is not None and self._stream not in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the failure has been reported
                self._stream.close()


class _Bridge(logging.Handler):
    """Passes the records of other libraries to our pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        level = max(name for name in LOG_LEVELS.values() if name <= max(record.levelno, LOG_LEVELS["debug"]))
        get_logger(record.name).log(level, record.getMessage(), exc_info=record.exc_info)


_sinks: list[_Sink] = []
_bridge = _Bridge()


def configure_logging(
    *,
    log_format: str = "console",
    level: str = "warning",
    log_file: str | None = None,
    stream: TextIO | None = None,
    colors: bool = False,
) -> None:
    """Sends logs from `level` on to `stream` (None: standard error), and all of them to `log_file`.

    `log_format` is "console" or "json", for both. `colors` are for a terminal's console format; the caller evaluates
    NO_COLOR. May be called again. Raises `ConfigurationError` where the file cannot be opened for appending.
    """
    sinks = [_Sink(stream, LOG_LEVELS[level], log_format, colors=colors)]
    if log_file is not None:
        try:
            file = Path(log_file).open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - the sink closes it
        except OSError as error:
            raise ConfigurationError(
                f"the log cannot be written to {log_file}: {error.strerror}",
                hint="Give --log a file in a folder that exists and may be written to.",
            ) from None
        sinks.append(_Sink(file, LOG_LEVELS["debug"], log_format, colors=False))
    for sink in _sinks:
        sink.close()
    _sinks[:] = sinks
    root = logging.getLogger()
    root.addHandler(_bridge)
    # The debug lines of other libraries are too many.
    root.setLevel(LOG_LEVELS["warning"])


class Logger:
    """The logger of one module. A line below the level of every sink costs a comparison."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **fields: object) -> None:
        """Log what helps to find an internal error."""
        self._tell("debug", LOG_LEVELS["debug"], event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log what a run does."""
        self._tell("info", LOG_LEVELS["info"], event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what people should know."""
        self._tell("warning", LOG_LEVELS["warning"], event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log a failure."""
        self._tell("error", LOG_LEVELS["error"], event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log an error with the traceback of the current exception."""
        self._tell("exception", LOG_LEVELS["error"], event, fields)

    def log(self, level: int, event: str, **fields: object) -> None:
        """Log a line at a level of `LOG_LEVELS`, by its number."""
        name = next(name for name, number in LOG_LEVELS.items() if number == level)
        self._tell(name, level, event, fields)

    def _tell(self, method: str, level: int, event: str, fields: dict[str, object]) -> None:
        if any(level >= sink.level for sink in _sinks):
            from image_syncer.telemetry.log_lines import bound_logger

            getattr(bound_logger(self._name, _write_event), method)(event, **fields)


def get_logger(name: str) -> Logger:
    """Return the logger of one module; `name` becomes the field `logger`. It works before `configure_logging` too."""
    return Logger(name)


def is_logged(level: str) -> bool:
    """Return whether lines of this level are written: to avoid composing one for each image in vain."""
    number = LOG_LEVELS[level]
    return any(number >= sink.level for sink in _sinks)


def _write_event(method: str, event: Mapping[str, Any]) -> None:
    """Pass a line to every sink of its level."""
    level = LOG_LEVELS["error" if method == "exception" else method]
    for sink in _sinks:
        if level >= sink.level:
            sink.write(event)
