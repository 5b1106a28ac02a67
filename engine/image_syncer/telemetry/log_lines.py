"""The pipeline of log lines: structlog with secrets removed, and its renderers."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog

from image_syncer.redaction import redact, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

    Renderer = Callable[[object, str, EventDict], str]


_DEBUG = 10
_MAX_DEPTH = 8
MOST_CHARS = 32 * 2**10
"""Characters of one text. A traceback has a few thousand; longer texts come from others."""
MOST_ITEMS = 1000
"""Items of one list or mapping."""
_MANY_LINES = ("exception", "traceback", "stack", "text")
"""Fields that may have several lines: tracebacks, and the output of workers."""
_SECRET_KEYS = frozenset({"password", "passwd", "secret", "token", "authorization", "identitytoken", "auth"})


@functools.cache
def bound_logger(name: str, write: Callable[[str, EventDict], None]) -> FilteringBoundLogger:
    """Return the logger whose lines pass the pipeline to `write(method, event)`; `name` becomes the field `logger`."""
    logger = structlog.wrap_logger(
        None,
        processors=[*_PROCESSORS, partial(_hand_over, write)],
        wrapper_class=structlog.make_filtering_bound_logger(_DEBUG),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast("FilteringBoundLogger", logger.bind(logger=name))


def renderer_of(log_format: str, *, colors: bool) -> Renderer:
    """Return the renderer of events as text; `log_format` is "console" or "json"."""
    if log_format == "json":
        # Typed for serializers that return bytes too; the default one, json.dumps, returns text.
        return cast("Renderer", structlog.processors.JSONRenderer(ensure_ascii=False))
    # Tracebacks are already text when they get here.
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _redact_all(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _redacted(value, key, depth=0) for key, value in event.items()}


def _redacted(value: object, key: object, depth: int) -> object:
    if isinstance(key, str) and key.lower() in _SECRET_KEYS and value:
        return "…"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            items = itertools.islice(value.items(), MOST_ITEMS)
            return {visible(redact(str(name))): _redacted(item, name, depth + 1) for name, item in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_redacted(item, None, depth + 1) for item in itertools.islice(value, MOST_ITEMS)]
    text = redact(str(value))  # before it is cut, perhaps in the middle of a secret
    if len(text) > MOST_CHARS:
        # Keep the end too: that of a traceback names the error.
        half = MOST_CHARS // 2
        text = f"{text[:half]} … ({len(text):,} characters) … {text[-half:]}"
    return visible(text, keep="\n" if key in _MANY_LINES else "")


def _hand_over(
    write: Callable[[str, EventDict], None], _logger: WrappedLogger, method: str, event: EventDict
) -> EventDict:
    write(method, event)
    raise structlog.DropEvent


_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _redact_all,
]
