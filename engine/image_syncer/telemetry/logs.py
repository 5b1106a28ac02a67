"""Logs: structlog with a pipeline of our own, so that a program around the engine keeps its configuration.

Nothing is written until `configure_logging` was called. Every value passes `errors.redact` before it is
rendered, and fields that are named like secrets are emptied. What other libraries log through `logging`
(asyncio's unretrieved exceptions, aiohttp) goes the same way.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from image_syncer.errors import ConfigurationError, redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

    _Renderer = Callable[[object, str, EventDict], str]

__all__ = ["LOG_LEVELS", "configure_logging", "get_logger"]

LOG_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Levels by name, with the numbers that `logging` gives them."""

_SILENT = 1000
_MAX_DEPTH = 8
_SECRET_KEYS = frozenset({"password", "passwd", "secret", "token", "authorization", "identitytoken", "auth"})


class _Sink:
    """One place where logs go: from which level on, and how they are rendered."""

    def __init__(self, stream: TextIO | None, level: int, renderer: _Renderer) -> None:
        self.level = level
        self._stream = stream
        self._renderer = renderer

    def write(self, event: EventDict) -> None:
        # Without a stream of its own a sink asks for sys.stderr each time: a live display puts itself in
        # its place while it runs, and prints what comes above its own lines.
        stream = self._stream if self._stream is not None else sys.stderr
        try:
            stream.write(f"{self._renderer(None, '', dict(event))}\n")
            stream.flush()
        except (OSError, ValueError) as error:
            # The reader has gone, or the disk is full. A run is worth more than its log.
            self.level = _SILENT
            get_logger(__name__).warning("a log cannot be written any more", reason=str(error))

    def close(self) -> None:
        if self._stream is not None and self._stream not in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # what could not be written before cannot be written now
                self._stream.close()


class _Bridge(logging.Handler):
    """Carries the records of other libraries into our pipeline."""

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

    `log_format` is "console" or "json", for both. `colors` are for a terminal's console format; the caller
    knows whether it is one and what NO_COLOR says. May be called again. Raises `ConfigurationError` where
    the file cannot be opened for appending.
    """
    sinks = [_Sink(stream, LOG_LEVELS[level], _renderer(log_format, colors=colors))]
    if log_file is not None:
        try:
            file = Path(log_file).open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - the sink closes it
        except OSError as error:
            raise ConfigurationError(
                f"the log cannot be written to {log_file}: {error.strerror}",
                hint="Give --log a file in a folder that exists and may be written to.",
            ) from None
        sinks.append(_Sink(file, LOG_LEVELS["debug"], _renderer(log_format, colors=False)))
    for sink in _sinks:
        sink.close()
    _sinks[:] = sinks
    root = logging.getLogger()
    root.addHandler(_bridge)
    # Other libraries' debugging would drown ours.
    root.setLevel(LOG_LEVELS["warning"])


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of one module; `name` becomes the field `logger`. Works before `configure_logging` too."""
    logger = structlog.wrap_logger(
        None,
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVELS["debug"]),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast("FilteringBoundLogger", logger.bind(logger=name))


def _drop_unwanted(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    level = _level(method)
    if not any(level >= sink.level for sink in _sinks):
        raise structlog.DropEvent
    return event


def _redact_all(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _redacted(value, key, depth=0) for key, value in event.items()}


def _redacted(value: object, key: object, depth: int) -> object:
    if isinstance(key, str) and key.lower() in _SECRET_KEYS and value:
        return "…"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return {str(name): _redacted(item, name, depth + 1) for name, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_redacted(item, None, depth + 1) for item in value]
    return redact(str(value))


def _write_to_sinks(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    level = _level(method)
    for sink in _sinks:
        if level >= sink.level:
            sink.write(event)
    raise structlog.DropEvent


def _level(method: str) -> int:
    return LOG_LEVELS.get("error" if method in ("exception", "critical", "fatal") else method, LOG_LEVELS["info"])


def _renderer(log_format: str, *, colors: bool) -> _Renderer:
    if log_format == "json":
        # Typed for serializers that return bytes too; the default one, json.dumps, returns text.
        return cast("_Renderer", structlog.processors.JSONRenderer(ensure_ascii=False))
    # Tracebacks are already text when they get here.
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


_PROCESSORS: list[Any] = [
    _drop_unwanted,
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _redact_all,
    _write_to_sinks,
]
