"""What a scenario is, where scenarios are found, and how they are made smaller.

A file in `perf/scenarios/` is a scenario: its docstring says what it stands for, and `VARIANTS` holds one or more
`Scenario`s by name. `few_large` on the command line is the file's variants that are not `on_demand`;
`few_large:larger` is that one, and the name of a group is all of its scenarios.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import perf.scenarios
from perf.errors import Mistake

if TYPE_CHECKING:
    from perf.stage.content import ContentSpec
    from perf.task import Task

__all__ = [
    "GROUPS",
    "Destination",
    "Scenario",
    "ScenarioFile",
    "Source",
    "WideArea",
    "estimate_bytes",
    "load_files",
    "room_needed",
    "scaled",
    "select",
]

MIB = 2**20
LEAST_SCALED_LAYER = 4096
POOL_SHARE = 1 / 10
"""Of the layers that come from the pool, this part is distinct (the stage's `LAYERS_A_SHARE`)."""
ROOM_MARGIN = 1.05

GROUPS = {
    "peers": (
        "few_large",
        "many_small:200",
        "many_small",
        "middle_blobs",
        "docker_registry:unchanged",
        "docker_registry:small",
        "docker_registry:large",
        "one_small_image",
        "docker_registry:tls",
        "start_up",
    )
}
"""Scenarios that make one table. Peers of their own stay out: its columns are the tools that `--peer` names."""

Peer = Callable[["Task"], list[str]]
"""The argument list by which a peer does a task."""


@dataclass(frozen=True)
class Source:
    """A registry that is copied from: all tags of all its repositories."""

    content: ContentSpec
    tls: bool = False
    auth: Literal["basic", "bearer"] | None = None
    bytes_per_s: int | None = None
    registry: bool = False
    """Debian's docker-registry, filled before the first run, instead of the fast static source."""


@dataclass(frozen=True)
class Destination:
    """A registry that is copied to, empty in the beginning of each run."""

    tls: bool = False
    auth: Literal["basic", "bearer"] | None = None
    bytes_per_s: int | None = None
    refuse_429: tuple[int, float] | None = None
    """Requests a second that are answered, and the Retry-After of the others in seconds."""
    holds: bool = False
    """It has all images of the (first) source already."""
    registry: bool = False
    """Debian's docker-registry instead of the sink."""


@dataclass(frozen=True)
class WideArea:
    """A path between the tool and a far side: a round trip's delay, loss, and bits a second in each direction."""

    delay_ms: int = 80
    loss: float = 0.01
    bits_per_s: float = 500e6
    sides: tuple[Literal["source", "destination"], ...] = ("source", "destination")
    """Which are far away, each over a path of its own."""


@dataclass(frozen=True)
class Scenario:
    """One piece of work: every source is copied to every destination. Without sources, tools write their `--help`."""

    sources: tuple[Source, ...]
    destinations: tuple[Destination, ...] = (Destination(),)
    peers: Mapping[str, Peer] = field(default_factory=dict)
    """Other tools that can do it, by name: what they are run with."""
    references: Mapping[str, Peer] = field(default_factory=dict)
    """Commands that copy nothing, by name: the least that a run can cost."""
    wide_area: WideArea | None = None
    options: tuple[str, ...] = ()
    """For image-syncer, before those of the command line."""
    limit_s: float = 600.0
    """A run that takes longer has failed."""
    on_demand: bool = False
    """Only run where it is named with its variant."""
    work: str = ""
    """A few words for a table of many scenarios."""
    name: str = ""
    """File and variant; filled in when it is loaded."""


@dataclass(frozen=True)
class ScenarioFile:
    """A file of `perf/scenarios/`."""

    name: str
    text: str
    """Its docstring."""
    variants: dict[str, Scenario]

    @property
    def headline(self) -> str:
        """The docstring's first line."""
        return self.text.strip().splitlines()[0]


def load_files() -> dict[str, ScenarioFile]:
    """Every scenario file there is, by name. Raises Mistake where one has no docstring or no `VARIANTS`."""
    files = {}
    for found in sorted(pkgutil.iter_modules(perf.scenarios.__path__), key=lambda found: found.name):
        module = importlib.import_module(f"perf.scenarios.{found.name}")
        variants: dict[str, Scenario] | None = getattr(module, "VARIANTS", None)
        if not module.__doc__ or not variants:
            raise Mistake(f"perf/scenarios/{found.name}.py needs a docstring and VARIANTS, see perf/README.md")
        named = {
            variant: replace(scenario, name=f"{found.name}:{variant}" if variant else found.name)
            for variant, scenario in variants.items()
        }
        files[found.name] = ScenarioFile(found.name, module.__doc__, named)
    return files


def select(files: Mapping[str, ScenarioFile], names: list[str]) -> list[Scenario]:
    """The scenarios that `names` ask for, all that are not on demand where there are none.

    Raises Mistake for a name that is not there.
    """
    chosen: list[Scenario] = []
    for name in names or sorted(files):
        if name in GROUPS:
            chosen += [replace(scenario, peers={}) for scenario in select(files, list(GROUPS[name]))]
            continue
        file_name, _, variant = name.partition(":")
        file = files.get(file_name)
        if file is None:
            raise Mistake(f"there is no scenario {file_name!r}; there are: {', '.join([*sorted(files), *GROUPS])}")
        if variant and variant not in file.variants:
            there = ", ".join(f"{file_name}:{known}" for known in file.variants if known) or "none"
            raise Mistake(f"{file_name} has no variant {variant!r}; there are: {there}")
        if variant:
            chosen.append(file.variants[variant])
        else:
            chosen += [scenario for scenario in file.variants.values() if not scenario.on_demand]
    return chosen


def scaled(scenario: Scenario, fraction: float) -> Scenario:
    """The same with a `fraction` of the bytes: smaller layers where they are large, else fewer tags.

    What is slow or refuses by design stays as slow. For tests and for a first look; figures of it prove nothing.
    """
    if fraction == 1:
        return scenario
    return replace(
        scenario,
        sources=tuple(
            replace(source, content=_scaled_content(source.content, fraction)) for source in scenario.sources
        ),
    )


def _scaled_content(spec: ContentSpec, fraction: float) -> ContentSpec:
    if spec.log_normal is None and spec.layer_bytes >= MIB:
        return replace(spec, layer_bytes=max(LEAST_SCALED_LAYER, round(spec.layer_bytes * fraction)))
    tags = max(1, round(spec.tags * fraction))
    repositories = max(1, round(spec.repositories * min(1.0, fraction * spec.tags / tags)))
    return replace(spec, tags=tags, repositories=repositories)


def estimate_bytes(spec: ContentSpec) -> int:
    """About how many bytes of tmpfs a content takes."""
    layer: float = spec.layer_bytes
    if spec.log_normal is not None:
        median, sigma = spec.log_normal
        layer = median * math.exp(sigma**2 / 2)  # the mean of a log-normal distribution
    images = spec.repositories * spec.tags
    own = images * (spec.layers - spec.shared_layers)
    distinct = own * (1 - spec.shared_fraction) + own * spec.shared_fraction * POOL_SHARE
    distinct += spec.shared_layers * spec.bases
    return round(distinct * layer + images * 12288)  # manifest, config and tag take a page each


def room_needed(scenario: Scenario) -> int:
    """About how many bytes of tmpfs a scenario takes, with the storage of its docker-registries."""
    total = 0
    for source in scenario.sources:
        size = estimate_bytes(source.content)
        total += size + size * sum(destination.registry for destination in scenario.destinations)
    return round(total * ROOM_MARGIN)
