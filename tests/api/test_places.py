"""Layouts and archives in the API: open as long as the run lasts, whoever begins it, and in whichever form."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import image_syncer
from image_syncer import Configuration, ConfigurationError, Settings, rule_from_arguments
from support.processes import children_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from api.conftest import World


@pytest.fixture(autouse=True)
def _no_gate_is_left() -> Iterator[None]:
    before = set(children_of(os.getpid()))
    yield
    wait_until(lambda: not set(children_of(os.getpid())) - before, "every process has ended")


def in_loop(begin: Callable[..., image_syncer.AsyncRun]) -> Callable[..., image_syncer.Report]:
    def door(*arguments: object, **more: object) -> image_syncer.Report:
        async def main() -> image_syncer.Report:
            return await begin(*arguments, **more)

        return asyncio.run(main())

    return door


FORMS: dict[str, tuple[Any, Any, Any, Any]] = {
    "sync": (image_syncer.plan, image_syncer.sync, image_syncer.verify, image_syncer.prune),
    "async": tuple(
        map(
            in_loop,
            (image_syncer.plan_async, image_syncer.sync_async, image_syncer.verify_async, image_syncer.prune_async),
        )
    ),
}


def to_layout(world: World, directory: Path) -> Configuration:
    world.add_images(1, layer_bytes=1000)
    rule = rule_from_arguments(f"{world.source.address}/team/app0:v1", f"oci:{directory}/layout:app")
    return Configuration((rule,), world.configuration.registries)


@pytest.mark.parametrize("form", FORMS)
def test_nobody_has_to_open_them(world: World, tmp_path: Path, form: str) -> None:
    configuration = to_layout(world, tmp_path)
    assert FORMS[form][1](configuration, settings=Settings(workers=1)).exit_code == 0
    assert (tmp_path / "layout" / "index.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_nobody_has_to_open_them_for_whatever_is_done(world: World, tmp_path: Path, form: str) -> None:
    plan, sync, verify, prune = FORMS[form]
    configuration, archive = to_layout(world, tmp_path), tmp_path / "app.tar"
    rule = rule_from_arguments(f"{world.source.address}/team/app0:v1", f"oci-archive:{archive}")
    configuration = replace(configuration, rules=(*configuration.rules, rule))
    assert [str(result) for result in plan(configuration, Settings()).totals.outcomes] == ["would be copied"]
    assert not (tmp_path / "layout").exists()
    assert not archive.exists()
    assert sync(configuration, Settings(workers=1)).exit_code == 0
    assert archive.stat().st_size > 1000
    rule = rule_from_arguments(f"oci:{tmp_path}/layout:app", f"{world.destination.address}/back")
    back = replace(configuration, rules=(rule,))
    assert sync(configuration=back, settings=Settings(workers=1)).exit_code == 0
    assert verify(back, Settings(), deep=True).exit_code == 0
    assert prune(back, Settings()).exit_code == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_place_that_is_not_there_is_told(world: World, tmp_path: Path, form: str) -> None:
    rule = rule_from_arguments(f"oci:{tmp_path}/none:app", f"{world.destination.address}/app")
    with pytest.raises(ConfigurationError, match="none"):
        FORMS[form][1](Configuration((rule,), world.configuration.registries), Settings())


def test_within_a_loop_nothing_is_opened(world: World, tmp_path: Path) -> None:
    configuration = to_layout(world, tmp_path)

    async def main() -> None:
        image_syncer.sync(configuration, Settings())

    with pytest.raises(RuntimeError, match="sync_async"):
        asyncio.run(main())
    assert not (tmp_path / "layout").exists()


def test_who_opens_them_still_may(world: World, tmp_path: Path) -> None:
    with image_syncer.open_places(to_layout(world, tmp_path)) as opened:
        assert image_syncer.sync(opened, Settings(workers=1)).exit_code == 0
        assert image_syncer.verify(opened, Settings()).exit_code == 0
