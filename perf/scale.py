"""One scenario over a grid of workers, streams and windows: curves, and the knee beyond which more does not pay."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from image_syncer.units import format_size, parse_size
from perf.compare import alternate
from perf.errors import Mistake
from perf.noise import KNEE_SHARE, Spread, find_knee
from perf.table import format_rows
from perf.tools import count_streams, image_syncer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perf.staging import Stage

__all__ = ["Curves", "Grid", "Setting", "format_curves", "parse_scale", "run_scale"]

_RANGE = re.compile(r"(?P<first>\d+)\.\.(?P<last>\d+)")
_DEFAULT_WINDOW_BYTES = 2**20
_NAMES = ("workers", "streams", "window")


@dataclass(frozen=True)
class Setting:
    """One point of the grid; None leaves the tool's default."""

    workers: int | None
    streams: int | None
    window_bytes: int | None

    @property
    def options(self) -> list[str]:
        """As image-syncer takes it."""
        options = []
        for name, value in (("workers", self.workers), ("streams", self.streams), ("window", self.window_bytes)):
            options += [] if value is None else [f"--{name}", str(value)]
        return options

    @property
    def cost(self) -> float:
        """What it takes to have: the memory of all windows, and of two equal ones that with fewer workers."""
        streams = count_streams(self.options)
        return streams * (self.window_bytes or _DEFAULT_WINDOW_BYTES) + (self.workers or 0)

    def __str__(self) -> str:
        parts = []
        if self.workers is not None:
            parts.append(f"{self.workers} worker{'s' if self.workers > 1 else ''}")
        if self.streams is not None:
            parts.append(f"{self.streams} stream{'s' if self.streams > 1 else ''}")
        if self.window_bytes is not None:
            parts.append(f"window {format_size(self.window_bytes)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Grid:
    """The values of each setting; an empty one is not touched."""

    workers: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    window_bytes: tuple[int, ...] = ()

    @property
    def settings(self) -> list[Setting]:
        """All combinations."""
        axes = [axis or (None,) for axis in (self.workers, self.streams, self.window_bytes)]
        return [Setting(*values) for values in itertools.product(*axes)]


@dataclass
class Curves:
    """What the grid gave, in the order of its settings."""

    scenario: str
    settings: list[Setting]
    wall_s: list[Spread]
    cpu_s: list[Spread]
    bytes_moved: int
    knee: int
    best: int
    kinds: dict[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "scenario": self.scenario,
            "places": self.kinds,
            "bytes": self.bytes_moved,
            "points": [
                {**vars(setting), "wall_s": wall.as_data(), "cpu_s": cpu.as_data()}
                for setting, wall, cpu in zip(self.settings, self.wall_s, self.cpu_s, strict=True)
            ],
            "knee": vars(self.settings[self.knee]),
            "best": vars(self.settings[self.best]),
        }


def parse_scale(words: Sequence[str]) -> Grid:
    """`workers=1,2,4`, `streams=1..64` (1, 2, 4, … 64), `window=256KiB,1MiB`. Raises Mistake where it is not that."""
    values: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in _NAMES or not text:
            raise Mistake(f"--scale {word}: write workers=1,2,4, streams=1..64 or window=256KiB,1MiB")
        if name in values:
            raise Mistake(f"--scale: {name} is given twice")
        values[name] = tuple(sorted({value for part in text.split(",") for value in _parse_values(name, part)}))
    if not values:
        raise Mistake("--scale: nothing to vary; write workers=1,2,4, streams=1..64 or window=256KiB,1MiB")
    return Grid(values.get("workers", ()), values.get("streams", ()), values.get("window", ()))


def _parse_values(name: str, part: str) -> list[int]:
    if name == "window":
        first, dots, last = part.partition("..")
        try:
            smallest, largest = parse_size(first), parse_size(last if dots else first)
        except ValueError as error:
            raise Mistake(f"--scale window: {error}") from None
    else:
        found = _RANGE.fullmatch(part)
        if found is None and not part.isdecimal():
            raise Mistake(f"--scale {name}={part}: a number, or a range such as 1..64")
        smallest, largest = (int(found["first"]), int(found["last"])) if found else (int(part), int(part))
    if not 0 < smallest <= largest:
        raise Mistake(f"--scale {name}={part}: from a number above 0 to a larger one")
    doubled = [smallest]
    while doubled[-1] * 2 <= largest:
        doubled.append(doubled[-1] * 2)
    return doubled if doubled[-1] == largest else [*doubled, largest]


def run_scale(
    stage: Stage,
    grid: Grid,
    *,
    options: Sequence[str],
    runs: int,
    warm_up: int,
    tell: Callable[[str], None],
) -> Curves:
    """Each setting `runs` times, all of them in turn."""
    settings = {str(setting): setting for setting in grid.settings}
    tools = [image_syncer(name, options=[*options, *setting.options]) for name, setting in settings.items()]
    result = alternate(
        stage,
        tools,
        runs=runs,
        warm_up=warm_up,
        streams=lambda tool: count_streams([*options, *settings[tool.name].options]),
        tell=tell,
    )
    spreads = [result.spreads(name) for name in settings]
    wall = [found["wall_s"] for found in spreads]
    medians = [spread.median for spread in wall]
    return Curves(
        scenario=stage.scenario.name,
        settings=list(settings.values()),
        wall_s=wall,
        cpu_s=[found["cpu_s"] for found in spreads],
        bytes_moved=result.wanted.distinct_bytes * len(stage.scenario.destinations),
        knee=find_knee([(setting.cost, median) for setting, median in zip(settings.values(), medians, strict=True)]),
        best=medians.index(min(medians)),
        kinds=result.kinds,
    )


def format_curves(curves: Curves) -> str:
    """A table of the grid, with the best setting and the knee."""
    rows = [["setting", "wall s", "MB/s", "CPU s", ""]]
    for number, setting in enumerate(curves.settings):
        wall, cpu = curves.wall_s[number], curves.cpu_s[number]
        marks = [mark for mark, where in (("best", curves.best), ("knee", curves.knee)) if where == number]
        rate = curves.bytes_moved / wall.median / 1e6
        rows.append([str(setting), f"{wall.median:.3f}", f"{rate:.0f}", f"{cpu.median:.2f}", " ".join(marks)])
    knee = f"the knee, the smallest setting within {KNEE_SHARE:.0%} of the best: {curves.settings[curves.knee]}"
    return "\n".join([f"{curves.scenario}, scaled", *format_rows(rows), f"  {knee}"])
