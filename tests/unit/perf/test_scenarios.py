"""Every scenario file loads, says what it stands for, and asks for things that there are."""

from __future__ import annotations

import pytest
from perf.errors import Mistake
from perf.scenario import (
    GROUPS,
    Destination,
    Scenario,
    Source,
    estimate_bytes,
    load_files,
    room_needed,
    scaled,
    select,
)
from perf.stage.content import ContentSpec, build_content
from perf.staging import check_room
from perf.validate import LEAST_LAYER, MOST_IMAGES, MOST_LAYER, draw

FILES = load_files()
SCENARIOS = [scenario for file in FILES.values() for scenario in file.variants.values()]
WANTED = {
    "few_large", "few_large:larger", "many_small", "real_world", "shared_catalog", "nothing_changed", "one_blob",
    "fan_out", "tls", "access:basic", "access:bearer", "wide_area:source", "wide_area:destination", "slow_source",
    "refused", "docker_registry:large", "docker_registry:small", "docker_registry:unchanged", "docker_registry:tls",
    "many_small:200", "middle_blobs", "one_small_image", "start_up",
}  # fmt: skip


def test_every_scenario_that_is_promised_is_there() -> None:
    assert {scenario.name for scenario in SCENARIOS} >= WANTED


@pytest.mark.parametrize("file", FILES.values(), ids=lambda file: file.name)
def test_a_docstring_says_what_it_is_and_what_it_stands_for(file) -> None:
    headline, _, rest = file.text.strip().partition("\n\n")
    assert 10 < len(file.headline) <= 120
    assert "\n" not in headline
    assert len(rest.split()) >= 20


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_has_a_peer_and_work_to_do(scenario) -> None:
    assert scenario.peers or scenario.references
    assert bool(scenario.peers) == bool(scenario.sources) == bool(scenario.destinations)
    for source in scenario.sources:
        assert 0 < estimate_bytes(source.content) < 12e9


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_hundredth_of_a_scenario_is_small(scenario) -> None:
    small = scaled(scenario, 0.01)
    assert room_needed(small) < max(20e6, room_needed(scenario) * 0.05)
    assert small.destinations == scenario.destinations
    assert scaled(scenario, 1) is scenario


@pytest.mark.parametrize(
    "spec",
    [
        ContentSpec(tags=3, layers=2, layer_bytes=50_000),
        ContentSpec(repositories=5, tags=4, layers=6, layer_bytes=20_000, shared_fraction=0.8),
        ContentSpec(repositories=3, tags=3, layers=4, layer_bytes=50_000, shared_layers=2),
        ContentSpec(tags=9, layers=4, layer_bytes=50_000, shared_layers=3, bases=4),
    ],
)
def test_the_room_is_about_what_the_content_takes(spec, tmp_path) -> None:
    content = build_content(spec, tmp_path / "content")
    assert content.distinct_bytes <= estimate_bytes(spec) < content.distinct_bytes * 1.5 + content.images * 20_000


def test_names_choose_what_is_not_on_demand_and_variants_choose_themselves() -> None:
    assert [scenario.name for scenario in select(FILES, ["few_large"])] == ["few_large"]
    assert [scenario.name for scenario in select(FILES, ["few_large:larger"])] == ["few_large:larger"]
    assert [scenario.name for scenario in select(FILES, ["access"])] == ["access:basic", "access:bearer"]
    group = select(FILES, ["peers"])
    assert [scenario.name for scenario in group] == list(GROUPS["peers"])
    assert all(scenario.work and not scenario.peers for scenario in group)
    everything = {scenario.name for scenario in select(FILES, [])}
    assert everything == {scenario.name for scenario in SCENARIOS if not scenario.on_demand}


def test_a_scenario_that_does_not_fit_says_how_much_would(tmp_path) -> None:
    huge = Scenario(
        (Source(ContentSpec(layer_bytes=2**60), registry=True),), (Destination(registry=True),), name="huge"
    )
    with pytest.raises(Mistake, match=r"huge needs .* GB in .* --directory, or less of it with --fraction"):
        check_room(huge, tmp_path)


def test_drawn_workloads_depend_on_the_seed_alone_and_fit_into_memory():
    drawn = draw(40, seed=5)
    assert drawn == draw(40, seed=5) != draw(40, seed=6)
    assert all(room_needed(scenario) < 8 * 2**30 for scenario in drawn)
    sides = {(scenario.sources[0].registry, scenario.destinations[0].registry) for scenario in drawn}
    assert len(sides) == 4
    for scenario in drawn:
        spec = scenario.sources[0].content
        assert scenario.sources[0].tls == scenario.destinations[0].tls
        assert LEAST_LAYER <= spec.layer_bytes <= MOST_LAYER
        assert 0 <= spec.shared_layers < spec.layers
        assert 1 <= spec.repositories * spec.tags <= MOST_IMAGES
