"""The whole of it on a few kilobytes, with servers of our own: a table, a JSON file, and a check that can fail."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from perf.baseline import dependencies_of
from perf.command import main
from perf.scenario import Scenario, Source
from perf.stage.content import ContentSpec
from perf.staging import Stage
from perf.tools import ROOT

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

COMMON = ["--source", "python", "--runs", "1", "--warm-up", "0", "--fraction", "0.001"]


@pytest.fixture(autouse=True)
def known_machine(monkeypatch) -> None:
    monkeypatch.setattr("perf.machine.sha256_s_per_gb", lambda: 0.5)


def test_a_scenario_runs_from_end_to_end(tmp_path, capsys) -> None:
    path = tmp_path / "result.json"
    arguments = ["few_large", *COMMON, "--directory", str(tmp_path), "--only", "image-syncer,curl", "--json", str(path)]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "few_large: 4 images, 8 distinct blobs" in table
    document = json.loads(path.read_text())
    (result,) = document["results"]
    assert set(result["tools"]) == {"image-syncer", "curl"}
    (run,) = result["tools"]["image-syncer"]["runs"]
    assert run["arrived"]["blobs committed"] == result["content"]["distinct_blobs"] == 8
    assert run["arrived"]["blob bytes"] == result["content"]["distinct_bytes"]
    assert run["arrived"]["manifests"] == 4
    assert run["requests"]
    assert run["cpu_s"] > 0
    assert {"coordinator", "worker"} <= set(run["peak_memory_bytes"])
    assert result["tools"]["curl"]["against_image_syncer"]["wall_s"]["verdict"] == "?"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_tool_that_says_it_is_done_and_is_not_is_found_out(tmp_path, capsys) -> None:
    arguments = ["few_large", *COMMON, "--directory", str(tmp_path), "--only", "lazy", "--peer", "lazy=true"]
    assert main(arguments) == 2
    assert "lazy ended well, but at destination 0: 0 of 8 blobs arrived" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_peers_and_references_make_one_table(tmp_path, capsys) -> None:
    table = tmp_path / "table.md"
    again = f"{sys.executable} -m image_syncer_cli sync --auth {{auth}} --images {{images}} --quiet --no-progress"
    arguments = ["one_small_image", "start_up", *COMMON, "--directory", str(tmp_path), "--table", str(table)]
    arguments += ["--peer", f"again={again}", "--only", "image-syncer,again,imports,python"]
    assert main(arguments) == 0
    seconds, ratios = r"[\d.]+ / [\d.]+", r"[\d.]+ \? / [\d.]+ \?"
    assert "start_up: nothing is copied; median of 1 run" in capsys.readouterr().out
    written = table.read_text()
    assert "| scenario | image-syncer | again |\n|---|---|---|\n" in written
    assert re.search(rf"\| `one_small_image`: one image of 1 KB \| {seconds} \| {seconds} \({ratios}\) \|\n", written)
    assert re.search(rf"\| `start_up`: `--help` \| {seconds} \| – \|\n", written)
    assert re.search(rf"\| one_small_image \| imports \| {seconds} \| {ratios} \|\n", written)
    assert re.search(rf"\| start_up \| python \| {seconds} \| {ratios} \|\n", written)


def test_the_table_says_which_peer_was_left_out_and_that_only_a_part_was_run(tmp_path, capsys) -> None:
    lazy = tmp_path / "crane"
    lazy.write_text("#!/bin/sh\n")
    lazy.chmod(0o755)
    table = tmp_path / "table.md"
    arguments = ["few_large", "one_small_image", *COMMON, "--directory", str(tmp_path), "--table", str(table)]
    assert main([*arguments, "--peer", f"crane={lazy}", "--only", "image-syncer,crane"]) == 0
    written = table.read_text()
    assert "\n\nLeft out: crane in few_large, crane in one_small_image.\n\n" in written
    assert "Only 0.001 of each scenario was run" in written
    assert str(tmp_path) not in written
    assert "Left out: crane in few_large" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not installed")
@pytest.mark.parametrize("variant", ["tls", "unchanged"])
def test_docker_registry_is_on_both_sides(variant, tmp_path, capsys) -> None:
    arguments = [f"docker_registry:{variant}", *COMMON, "--directory", str(tmp_path)]
    assert main([*arguments, "--only", "image-syncer"]) == 0
    assert "source: docker-registry" in capsys.readouterr().out
    lazy = main([*arguments, "--only", "lazy", "--peer", "lazy=true"])
    assert lazy == (0 if variant == "unchanged" else 2)


def test_what_is_profiled_is_image_syncer_whatever_else_runs(tmp_path, capsys, monkeypatch) -> None:
    profiled = []
    monkeypatch.setattr("perf.command.profile_once", lambda _, tool, *__: profiled.append(tool.name) or {"hash": 1.0})
    arguments = ["few_large", *COMMON, "--directory", str(tmp_path), "--only", "curl", "--profile", "perf"]
    assert main(arguments) == 0
    assert profiled == ["image-syncer"]


def test_ours_serves_where_nginx_cannot(tmp_path) -> None:
    source = Source(ContentSpec(layer_bytes=4096), auth="basic")
    with Stage(Scenario(sources=(source,), name="guarded"), tmp_path, source_kind="nginx") as stage:
        assert stage.kinds["source"].startswith("perf source")


def test_the_grid_of_a_scale_runs_and_has_a_knee(tmp_path, capsys) -> None:
    path = tmp_path / "result.json"
    scale = ["--scale", "workers=1", "streams=1,2", "--json", str(path)]
    assert main(["few_large", *COMMON, "--directory", str(tmp_path), *scale]) == 0
    assert "the knee, the smallest setting within 5% of the best: 1 worker, " in capsys.readouterr().out
    (curves,) = json.loads(path.read_text())["scales"]
    assert [point["streams"] for point in curves["points"]] == [1, 2]


def test_the_scenarios_are_listed(capsys) -> None:
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert "few_large        Few large layers" in said
    assert "few_large:larger (only where it is named)" in said


def test_the_dependencies_of_a_revision_are_read_from_its_project(tmp_path) -> None:
    assert any(requirement.startswith("pycurl") for requirement in dependencies_of(ROOT / "pyproject.toml"))
    other = tmp_path / "pyproject.toml"
    other.write_text('[project]\ndependencies = [\n    "b>=1",  # why\n    "a",\n]\n[x]\ndependencies = "c"\n')
    assert dependencies_of(other) == ["a", "b>=1"]
    assert dependencies_of(tmp_path / "none.toml") == []
