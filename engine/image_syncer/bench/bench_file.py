"""The file of a bench: the measured paths of a host, to be kept with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.planning.measured import MeasuredPath
from image_syncer.telemetry import PartialFile

if TYPE_CHECKING:
    from image_syncer.bench.sweep import Setting

__all__ = ["BenchFile", "load_bench", "save_bench"]

_HINT = "Give the file that bench --save wrote."


@dataclass(frozen=True)
class BenchFile:
    """`paths` by their sources; `best` are the settings beyond which more does not pay, where they were looked for."""

    paths: tuple[MeasuredPath, ...]
    best: Setting | None = None

    def path_of(self, source: str, destination: str) -> MeasuredPath:  # noqa: ARG002 - one path for all of a source's
        """What was measured from `source`; where that was not, what was measured first."""
        return next((path for path in self.paths if path.source == source), self.paths[0])


def save_bench(found: BenchFile, path: str) -> None:
    """Write the file. Raises ConfigurationError or SyncError where it cannot be written."""
    data: dict[str, Any] = {"kind": "benches", "paths": [one.as_data() for one in found.paths]}
    if found.best is not None:
        data["best"] = found.best.as_data()
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n"
    PartialFile.write_all(path, text, noun="the bench", option="--save")


def load_bench(path: str) -> BenchFile:
    """Read the file. Raises ConfigurationError where it is something else."""
    try:
        data = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the bench {path} cannot be read: {error.strerror}", hint=_HINT) from None
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"the bench {path} is not JSON: {error.msg}", hint=_HINT) from None
    try:
        return _parse(data)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no bench of image-syncer: {error}", hint=_HINT) from None


def _parse(data: Any) -> BenchFile:
    from image_syncer.bench.sweep import Setting

    if not isinstance(data, dict) or data.get("kind") != "benches" or not data.get("paths"):
        raise ValueError("its kind is not “benches”, or it has no paths")
    best = Setting(**data["best"]) if "best" in data else None
    return BenchFile(tuple(MeasuredPath.from_data(one) for one in data["paths"]), best)
