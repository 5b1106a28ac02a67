"""The command line of `perf/run.py`: reads it, runs the scenarios, prints and writes what came out."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perf.baseline import installed_baseline
from perf.compare import alternate
from perf.errors import Mistake
from perf.machine import describe_machine, version_of
from perf.peer import KNOWN_PEERS, PLACEHOLDERS, parse_peer
from perf.profiling import PROFILERS, profile_once
from perf.scale import Grid, format_curves, parse_scale, run_scale
from perf.scenario import GROUPS, load_files, scaled, select
from perf.stage.nginx import locate_nginx
from perf.stage.processes import StageError
from perf.staging import Stage, check_room, find_directory
from perf.summary import format_markdown, format_text
from perf.table import format_machine, format_result
from perf.tools import OURS, Tool, count_streams, image_syncer, is_installed, reference

if TYPE_CHECKING:
    from perf.compare import Result
    from perf.scale import Curves
    from perf.scenario import Scenario, ScenarioFile

__all__ = ["main"]

MISTAKE, INTERRUPTED = 2, 130


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, 2 for a mistake or a tool that failed, 130 where it was interrupted.

    SIGTERM and SIGHUP raise SystemExit with 128 and their number.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that servers and files go away
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(options)
    except (Mistake, StageError) as mistake:
        print(f"perf: {mistake}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("perf: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="perf/run.py",
        description="Measures image-syncer in scenarios, in turn with other tools. perf/README.md explains it all.",
        epilog="placeholders of --peer: " + " ".join(f"{{{name}}}" for name in PLACEHOLDERS),
    )
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="scenario", help="few_large, few_large:larger, peers, …; see --list")
    add("--list", action="store_true", help="say what scenarios there are")
    add("--alone", action="store_true", help="say how fast the servers of the benchmark are with nothing between them")
    add("--runs", type=_positive, default=5, metavar="N", help="counted runs of each tool (default: 5)")
    add("--warm-up", type=_count, default=1, metavar="N", help="runs before them that do not count (default: 1)")
    add("--fraction", type=_fraction, default=1.0, metavar="F", help="so much of each scenario's bytes (default: 1)")
    add("--only", metavar="TOOL,…", help="only these tools, such as image-syncer,skopeo")
    add("--baseline", metavar="REV", action="append", default=[], help="another revision of this repository")
    known = f"{', '.join(KNOWN_PEERS)}, NAME=PATH of one of them, or any shell line; see the placeholders below"
    add("--peer", metavar="NAME[=LINE]", action="append", default=[], help=known)
    add("--options", metavar="OPTIONS", default="", help="for image-syncer, such as '--workers 2 --streams 8'")
    add("--profile", choices=PROFILERS, help="one more run of image-syncer, profiled: shares of hash, kernel, …")
    add("--scale", nargs="+", metavar="NAME=VALUES", help="workers=1,2,4 streams=1..64 window=256KiB,1MiB")
    add("--json", metavar="FILE", help="write everything here")
    add("--table", metavar="FILE", help="write a table of all scenarios here, as Markdown")
    add("--plots", metavar="DIR", help="draw pictures into this folder (needs matplotlib)")
    add("--directory", metavar="DIR", help="where content lies (default: /dev/shm)")
    add("--source", choices=("auto", "nginx", "python"), default="auto", help="what serves (default: nginx if there)")
    options = parser.parse_intermixed_args(arguments)
    if options.scale is not None:
        # A scenario that is written after --scale was taken for one of its values.
        options.scenarios += [word for word in options.scale if "=" not in word]
        options.scale = [word for word in options.scale if "=" in word]
    return options


def _run(options: argparse.Namespace) -> None:
    files = load_files()
    if options.list:
        _list(files)
        return
    if options.alone:
        from perf.stage.alone import measure_alone, render_alone

        print(render_alone(measure_alone(find_directory(options.directory))))
        return
    grid = None if options.scale is None else parse_scale(options.scale)
    scenarios = [
        scaled(scenario, options.fraction)
        for scenario in select(files, options.scenarios)
        if scenario.sources or grid is None
    ]
    if grid is not None and options.profile:
        raise Mistake("--profile: with --scale there is nothing to profile; give one of the two")
    given = _split_options(options.options, scenarios)
    peers = [parse_peer(text) for text in options.peer]
    directory = find_directory(options.directory)
    _check_places(options)
    machine = _describe_machine(peers)
    print(format_machine(machine), flush=True)
    document: dict[str, Any] = {
        "command": _without_folders(shlex.join(sys.argv), peers),
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine,
        "runs": options.runs,
        "fraction": options.fraction,
        "results": [],
        "scales": [],
    }
    results: list[Result] = []
    with installed_baseline(options.baseline, given) as baselines:
        document["baselines"] = {tool.name: tool.revision for tool in baselines}
        _check_names(scenarios, [*baselines, *peers], options.only)
        for scenario in scenarios:
            try:
                check_room(scenario, directory)
            except Mistake as mistake:
                if options.scenarios:
                    raise
                print(f"\nleft out: {mistake}", flush=True)
                continue
            if grid is not None:
                _scale(scenario, given, grid, directory, options, document)
            else:
                results.append(_compare(scenario, given, [*baselines, *peers], directory, options))
                document["results"].append(results[-1].as_data())
            if options.table:
                Path(options.table).write_text(format_markdown(results, machine, options.fraction))
            if options.json:  # after each, so that what was measured is not lost with a later failure
                Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    if len(results) > 1:
        print(f"\n{format_text(results, options.fraction)}", flush=True)


def _describe_machine(peers: list[Tool]) -> dict[str, Any]:
    machine = describe_machine()
    for tool in peers:
        if tool.version:
            machine["programs"][tool.name] = version_of(tool.version) or "unreleased"
    return machine


def _without_folders(command: str, peers: list[Tool]) -> str:
    """Where somebody keeps a peer's program is of no interest to those who read a result."""
    for folder in (f"{Path(tool.version[0]).parent}/" for tool in peers if tool.version):
        command = command.replace(folder, "")
    return command


def _check_places(options: argparse.Namespace) -> None:
    for path in (options.json, options.table, options.plots):
        if path and not Path(path).absolute().parent.is_dir():
            raise Mistake(f"{path}: there is no folder {Path(path).parent}")
    for name, path in (("--json", options.json), ("--table", options.table)):
        if path and Path(path).is_dir():
            raise Mistake(f"{name} {path}: this is a folder; give the name of a file")
    if options.plots and Path(options.plots).exists() and not Path(options.plots).is_dir():
        raise Mistake(f"--plots {options.plots}: this is no folder")
    if options.source == "nginx" and locate_nginx() is None:
        raise Mistake("--source nginx: it is not installed")
    if options.plots:
        from perf.plots import need_matplotlib

        need_matplotlib()


def _list(files: dict[str, ScenarioFile]) -> None:
    for file in files.values():
        print(f"{file.name:16} {file.headline}")
        for variant, scenario in file.variants.items():
            if variant:
                print(f"  {scenario.name}{' (only where it is named)' if scenario.on_demand else ''}")
    for name, scenarios in GROUPS.items():
        print(f"{name:16} {', '.join(scenarios)}")


def _split_options(text: str, scenarios: list[Scenario]) -> list[str]:
    """Raises Mistake where they are no words, or where a number that we need is none."""
    try:
        given = shlex.split(text)
    except ValueError as error:
        raise Mistake(f"--options {text}: {error}") from None
    for scenario in scenarios:
        count_streams([*scenario.options, *given])
    return given


def _compare(
    scenario: Scenario,
    more: list[str],
    extra: list[Tool],
    directory: Path,
    options: argparse.Namespace,
) -> Result:
    given = [*scenario.options, *more]
    ours = image_syncer(options=given)
    tools, left_out = [ours], []
    for name, command in scenario.peers.items():
        if name in {tool.name for tool in extra}:
            continue
        if is_installed(name.partition("+")[0]):
            delivers: Literal["images", "blobs"] = "blobs" if name.startswith("curl") else "images"
            tools.append(Tool(name, command, delivers=delivers, essential=False))
        else:
            left_out.append(f"{name} is not installed")
    tools += [tool for tool in extra if scenario.sources or tool.has_help]
    tools += [reference(name, command) for name, command in scenario.references.items()]
    if options.only:
        tools = _only(tools, options.only)
    with Stage(scenario, directory, source_kind=options.source) as stage:
        result = alternate(
            stage,
            tools,
            runs=options.runs,
            warm_up=options.warm_up,
            streams=lambda _: count_streams(given),
            tell=_tell,
        )
        result.left_out += left_out
        if options.profile:
            result.shares[OURS] = profile_once(stage, ours, options.profile, count_streams(given))
    print(f"\n{format_result(result)}", flush=True)
    if options.plots:
        _draw_result(result, Path(options.plots))
    return result


def _check_names(scenarios: list[Scenario], extra: list[Tool], only: str | None) -> None:
    given = [tool.name for tool in extra]
    references = [name for scenario in scenarios for name in scenario.references]
    for name in given:
        if given.count(name) > 1 or name in (OURS, *references):
            raise Mistake(f"two tools are called {name}; give the peer another name")
    peers = [name for scenario in scenarios for name in scenario.peers]
    names = list(dict.fromkeys([OURS, *peers, *given, *references]))
    for name in only.split(",") if only else ():
        if name not in names:
            raise Mistake(f"--only {name}: there is no such tool; there are {', '.join(names)}")


def _only(tools: list[Tool], text: str) -> list[Tool]:
    wanted = text.split(",")
    there = {tool.name: tool for tool in tools}
    chosen = [there[name] for name in wanted if name in there]  # another scenario may have the others
    if not chosen:
        raise Mistake(f"--only {text}: this scenario has {', '.join(there)}")
    return chosen


def _scale(
    scenario: Scenario,
    more: list[str],
    grid: Grid,
    directory: Path,
    options: argparse.Namespace,
    document: dict[str, Any],
) -> None:
    with Stage(scenario, directory, source_kind=options.source) as stage:
        curves = run_scale(
            stage,
            grid,
            options=[*scenario.options, *more],
            runs=options.runs,
            warm_up=options.warm_up,
            tell=_tell,
        )
    print(f"\n{format_curves(curves)}", flush=True)
    document["scales"].append(curves.as_data())
    if options.plots:
        _draw_curves(curves, Path(options.plots))


def _draw_result(result: Result, folder: Path) -> None:
    from perf.plots import draw_result

    print(f"  {draw_result(result, folder)}")


def _draw_curves(curves: Curves, folder: Path) -> None:
    from perf.plots import draw_curves

    print(f"  {draw_curves(curves, folder)}")


def _tell(text: str) -> None:
    print(f"  … {text}", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text}: more than 0 and at most 1")
    return number
