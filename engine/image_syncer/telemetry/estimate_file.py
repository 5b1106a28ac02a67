"""The estimate of a plan, as `estimate --json` told it, read back to be compared with what came of it."""

from __future__ import annotations

from pathlib import Path

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.values import Value

__all__ = ["EstimateFile", "load_estimate"]

_HINT = "Give a file with what estimate --json wrote."
_MOST = 2.0**63


class EstimateFile(Value, frozen=True):
    """How long it was to take: `seconds` in half of all cases, `p90_s` in nine of ten; `cpu_s` of processors, and
    `memory_bytes`.
    """

    seconds: float
    p90_s: float
    cpu_s: float
    memory_bytes: float


def load_estimate(path: str) -> EstimateFile:
    """Reads the file. Raises `ConfigurationError` where it is something else."""
    try:
        document = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the estimate {path} cannot be read: {error.strerror}", hint=_HINT) from None
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path} is not JSON: {error.msg} (line {error.lineno})", hint=_HINT) from None
    values = {}
    for name in ("seconds", "p90_s", "cpu_s", "memory_bytes"):
        value = document.get(name) if isinstance(document, dict) else None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _MOST:
            raise ConfigurationError(f"{path} is no estimate: {name} is no number from 0 on", hint=_HINT)
        values[name] = float(value)
    return EstimateFile(**values)
