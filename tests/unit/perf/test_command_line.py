"""What people write: --scale, --peer, options; and that mistakes end with 2 and a sentence."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from perf.command import main
from perf.errors import Mistake
from perf.peer import KNOWN_PEERS, PLACEHOLDERS, parse_peer
from perf.scale import parse_scale
from perf.stage.content import ContentSpec, build_content
from perf.stage.servers import Place
from perf.task import list_blobs, write_task
from perf.tools import count_streams, crane_copy, curl_pipes, image_syncer, regsync_once, skopeo_sync


def place(address: str, **known) -> Place:
    return Place(address, 0, **{"ca_file": None, "username": None, "password": None, "kind": "made up", **known})


@pytest.fixture
def task(tmp_path: Path):
    sources = []
    for number in range(2):
        spec = ContentSpec(repositories=2, tags=2, layers=2, layer_bytes=100, shared_layers=1, seed=number)
        content = build_content(spec, tmp_path / f"content{number}")
        sources.append(
            (place(f"127.0.0.1:500{number}", username="jo", password="geheim"), content, list_blobs(content))
        )
    (tmp_path / "ca.pem").write_text("an authority\n")
    destinations = [place("127.0.0.1:6000"), place("127.0.0.1:6001", ca_file=tmp_path / "ca.pem")]
    return write_task(tmp_path / "a folder", sources, destinations, streams=12)


# --scale


def test_scale_takes_lists_ranges_and_sizes() -> None:
    grid = parse_scale(["workers=4,1,2", "streams=1..48", "window=256KiB,1MiB"])
    assert grid.workers == (1, 2, 4)
    assert grid.streams == (1, 2, 4, 8, 16, 32, 48)
    assert grid.window_bytes == (2**18, 2**20)
    assert len(grid.settings) == 3 * 7 * 2
    assert grid.settings[0].options == ["--workers", "1", "--streams", "1", "--window", "262144"]


def test_what_is_not_varied_is_left_to_the_tool() -> None:
    (one, two) = parse_scale(["streams=3,5"]).settings
    assert one.options == ["--streams", "3"]
    assert str(two) == "5 streams"


def test_a_setting_costs_the_memory_of_its_windows() -> None:
    grid = parse_scale(["workers=1,2", "streams=4,8"])
    costs = {str(setting): setting.cost for setting in grid.settings}
    assert costs["1 worker, 4 streams"] < costs["1 worker, 8 streams"] < costs["2 workers, 4 streams"]


@pytest.mark.parametrize(
    "words",
    [
        ["streams"],
        ["streams="],
        ["threads=1"],
        ["streams=4..1"],
        ["streams=0"],
        ["streams=a"],
        ["window=1..x"],
        ["streams=1", "streams=2"],
        [],
    ],
)
def test_a_scale_that_is_none_is_a_mistake(words) -> None:
    with pytest.raises(Mistake, match="--scale"):
        parse_scale(words)


# --peer


def test_a_peers_placeholders_are_filled_in_and_the_shells_are_left(task) -> None:
    line = "x ${HOME} {source}/{repository} {destinations} {images} '{ a; }' {streams} $name"
    tool = parse_peer(f"crane={line}")
    assert tool.name == "crane"
    images = shlex.quote(str(task.images))
    filled = f"x ${{HOME}} 127.0.0.1:5000/bench/r0000 127.0.0.1:6000 127.0.0.1:6001 {images} '{{ a; }}' 12 $name"
    assert tool.command(task) == ["bash", "-euo", "pipefail", "-c", filled]


def test_every_placeholder_can_be_filled_in(task) -> None:
    line = parse_peer("all=" + " ".join(f"{{{name}}}" for name in PLACEHOLDERS)).command(task)[-1]
    assert "{" not in line


@pytest.mark.parametrize(
    "text", ["oras", "=x", "a b=x", "crane= ", "image-syncer=x", "crane=copy {sourse}", "crane=/no/such/crane"]
)
def test_a_peer_that_is_none_is_a_mistake(text) -> None:
    with pytest.raises(Mistake, match="--peer"):
        parse_peer(text)


@pytest.mark.parametrize("name", KNOWN_PEERS)
def test_a_known_program_needs_no_line_wherever_it_lies(name, task, tmp_path, monkeypatch) -> None:
    program = tmp_path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    for text in (name, f"{name}={program}", f"{name}=./{name}", f"old={program}"):
        tool = parse_peer(text)
        assert tool.name == text.partition("=")[0]
        assert str(program) in shlex.join(tool.command(task))
        assert tool.command(replace(task, copies=())) == [str(program), "--help"]
        assert tool.version[0] == str(program)
    assert parse_peer(f"{name}={name} copy {{source}}").command(task)[0] == "bash"


def test_a_known_program_that_is_not_installed_is_a_mistake(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Mistake, match="--peer crane: there is no program crane"):
        parse_peer("crane")


# What a task becomes


def test_regsync_gets_an_entry_for_each_tag_and_destination(task) -> None:
    command = regsync_once(task)
    configuration = json.loads(Path(command[command.index("--config") + 1]).read_text())
    assert len(configuration["sync"]) == len(task.copies) * 2
    assert configuration["sync"][-1] == {
        "source": "127.0.0.1:5001/bench/r0001:v00001",
        "target": "127.0.0.1:6001/from1/bench/r0001:v00001",
        "type": "image",
    }
    assert {entry["registry"]: entry["tls"] for entry in configuration["creds"]} == {
        "127.0.0.1:5000": "disabled",
        "127.0.0.1:5001": "disabled",
        "127.0.0.1:6000": "disabled",
        "127.0.0.1:6001": "enabled",
    }
    assert "geheim" not in json.dumps(configuration)


def test_crane_copies_all_tags_of_several_repositories_at_once(task) -> None:
    line = crane_copy(task)[-1]
    assert " crane copy --all-tags " in line
    assert " --insecure " in line
    pairs = (task.folder / "crane.txt").read_text().splitlines()
    assert len(pairs) == len(task.copies)
    assert pairs[-1] == "127.0.0.1:5001/bench/r0001 127.0.0.1:6001/from1/bench/r0001"


def test_one_repository_needs_no_shell(task, tmp_path) -> None:
    one = replace(task, copies=task.copies[-1:])
    assert [command(one)[0] for command in (crane_copy, skopeo_sync, regsync_once)] == ["crane", "skopeo", "regsync"]
    trusted = place("127.0.0.1:6002", ca_file=tmp_path / "ca.pem")
    assert "--insecure" in crane_copy(one)
    assert "--insecure" not in crane_copy(
        replace(task, copies=(replace(task.copies[0], source=trusted, destination=trusted),))
    )


def test_each_repository_goes_to_each_destination_in_the_name_space_of_its_source(task) -> None:
    lines = skopeo_sync(task)[-1].splitlines()
    assert len(lines) == len(task.copies) == 2 * 2 * 2
    assert lines[-1].endswith(
        "--src-tls-verify=false --dest-tls-verify=true 127.0.0.1:5001/bench/r0001 127.0.0.1:6001/from1/bench"
    )
    assert "-P 12 " in curl_pipes(task)[-1]


def test_what_has_to_arrive_is_counted_from_the_manifests(task) -> None:
    wanted = task.wanted
    assert wanted.images == 2 * 4
    assert wanted.blob_copies == 2 * 4 * 3
    # Each repository has the base once, and of its two images a layer and a configuration each.
    assert wanted.placed_blobs == 2 * 2 * (1 + 2 * 2)
    assert wanted.distinct_blobs == 2 * (1 + 4 * 2)
    assert len(task.blobs.read_text().splitlines()) == wanted.placed_blobs * 2


def test_no_password_is_in_a_command(task) -> None:
    tools = [image_syncer(), parse_peer("a={source} {auth} {images} {blobs}")]
    said = [word for tool in tools for word in tool.command(task)]
    said += [word for peer in (regsync_once, crane_copy, skopeo_sync, curl_pipes) for word in peer(task)]
    assert not [word for word in said if "geheim" in word]
    assert "geheim" in task.auth.read_text()


def test_modules_are_compiled_for_the_tool_as_they_are_where_it_is_installed(task, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = {**os.environ, **image_syncer().environment(task)}
    assert not environment["PYTHONDONTWRITEBYTECODE"]


@pytest.mark.parametrize(
    ("options", "streams"),
    [
        (["--workers", "3"], 48),
        (["--workers=3", "--streams", "2"], 6),
        (["--workers", "2", "--streams", "8", "-p", "5"], 5),
    ],
)
def test_streams_are_counted_over_all_workers(options, streams) -> None:
    assert count_streams(options) == streams


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["few_smal"], "there is no scenario 'few_smal'; there are: access, "),
        (["few_large:huge"], "few_large has no variant 'huge'; there are: few_large:larger"),
        (["few_large", "--scale", "streams=x"], "--scale streams=x"),
        (["few_large", "--peer", "x"], "--peer 'x'"),
        (["few_large", "--only", "crane"], "--only crane: there is no such tool; there are image-syncer, skopeo, curl"),
        (["few_large", "--peer", "a=x", "--peer", "a=y"], "two tools are called a"),
        (["one_small_image", "--peer", "imports=x"], "two tools are called imports"),
        (["few_large", "--table", "/"], "--table /: this is a folder"),
        (["few_large", "--directory", "/no/such"], "/no/such is no directory"),
        (["few_large", "--json", "/no/such/file"], "there is no folder /no/such"),
        (["few_large", "--json", "/"], "--json /: this is a folder"),
        (["few_large", "--plots", "/dev/null"], "--plots /dev/null: this is no folder"),
        (["few_large", "--options", "'"], "--options ': No closing quotation"),
        (["few_large", "--options", "--workers abc"], "--workers abc: a number from 1 on"),
        (["few_large", "--options=--streams=0"], "--streams 0: a number from 1 on"),
        (["--scale", "few_large"], "--scale: nothing to vary"),
        (["few_large", "--scale", "workers=1", "--profile", "perf"], "--profile: with --scale"),
        (["few_large", "--baseline", "no-such-revision"], "no such revision"),
    ],
)
def test_a_mistake_ends_with_two_and_a_sentence(arguments, words, capsys, monkeypatch) -> None:
    monkeypatch.setattr("perf.command.describe_machine", dict)
    monkeypatch.setattr("perf.command.format_machine", lambda _: "a machine")
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--fraction", "0"], ["--fraction", "2"], ["--warm-up", "-1"]])
def test_a_number_that_is_none_is_a_mistake_too(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "argument" in capsys.readouterr().err


def test_nginx_that_is_asked_for_has_to_be_there(capsys, monkeypatch) -> None:
    monkeypatch.setattr("perf.command.locate_nginx", lambda: None)
    assert main(["few_large", "--source", "nginx"]) == 2
    assert "--source nginx: it is not installed" in capsys.readouterr().err


def test_a_scenario_after_the_scale_is_a_scenario(monkeypatch) -> None:
    seen = SimpleNamespace()
    monkeypatch.setattr("perf.command._run", lambda options: setattr(seen, "options", options))
    assert main(["--scale", "workers=1,2", "streams=1..4", "few_large"]) == 0
    assert seen.options.scale == ["workers=1,2", "streams=1..4"]
    assert seen.options.scenarios == ["few_large"]
