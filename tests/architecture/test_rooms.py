"""The architecture: rooms import upwards, pure rooms touch nothing, the command uses what it is offered."""

from __future__ import annotations

import pytest

from architecture.rooms import (
    ENGINE,
    PURE_ROOMS,
    ROOMS,
    eager_imports_of_the_public_api,
    impurities,
    private_imports_of_the_cli,
    upward_imports,
)
from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, Module, imports_of, modules_under


@pytest.fixture(scope="module")
def engine() -> list[Module]:
    return modules_under(ENGINE_ROOT)


@pytest.fixture(scope="module")
def cli() -> list[Module]:
    return modules_under(CLI_ROOT)


def test_a_room_imports_only_itself_and_rooms_above(engine: list[Module]) -> None:
    assert upward_imports(engine) == []


def test_a_pure_room_touches_no_world(engine: list[Module]) -> None:
    assert impurities(engine) == []


def test_the_public_api_loads_no_room_by_itself(engine: list[Module]) -> None:
    assert eager_imports_of_the_public_api(engine) == []


def test_the_command_uses_public_names_only(engine: list[Module], cli: list[Module]) -> None:
    assert private_imports_of_the_cli(cli, engine) == []


def test_the_engine_knows_nothing_of_the_command(engine: list[Module]) -> None:
    assert [
        str(each) for module in engine for each in imports_of(module) if each.module.startswith("image_syncer_cli")
    ] == []


def test_each_source_root_holds_one_package(engine: list[Module], cli: list[Module]) -> None:
    assert {module.name.split(".")[0] for module in engine} == {ENGINE}
    assert {module.name.split(".")[0] for module in cli} == {"image_syncer_cli"}


def test_the_walk_sees_the_sources(engine: list[Module]) -> None:
    """The rules above hold for an empty list too: this one says that the list is not empty."""
    seen = {module.name.split(".")[1] for module in engine if "." in module.name}
    assert seen >= PURE_ROOMS
    assert ROOMS[: len(PURE_ROOMS)] == tuple(room for room in ROOMS if room in PURE_ROOMS)
