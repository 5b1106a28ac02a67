"""One blob from its lease to its outcome, in both processes: a way that a reader can follow."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, PROJECT
from image_syncer.embedded import Behaviour, ContentBuilder, TokenService, push_to, serve_in_thread

if TYPE_CHECKING:
    from pathlib import Path

MOST_FUNCTIONS = 88
MOST_FILES = 20
BESIDE = {"_beat", "_set_timer", "_on_alarm", "_check", "_watch", "_on_timer", "_on_timeout"}
"""Functions that the loop calls at times of its own: they are not compared."""

HOOK = """
import atexit, os, sys, threading

BEGINS = {"dispatch.transfers._lease_of": ("job", "digest"), "worker.process._on_lease": ("message", "job_id")}
ENDS = {"dispatch.transfers.on_landed": ("landed", "digest"), "worker.process._send": ("message", "job_id")}
called, whole, blob = {}, {}, None


def note(frame, event, _argument):
    global blob
    code = frame.f_code
    _, ours, place = code.co_filename.partition("/image_syncer/")
    if not ours or event not in ("call", "return") or code.co_name.startswith("<"):
        return
    name = f"{place.removesuffix('.py').replace('/', '.')}.{code.co_name}"
    if event == "return" and name in ENDS:
        argument, key = ENDS[name]
        ended = frame.f_locals[argument]
        if type(ended).__name__ in ("JobEnded", "BlobLanded") and getattr(ended, key) == blob:
            whole.clear()
            whole.update(called)
    elif event == "call":
        if name in BEGINS:
            argument, key = BEGINS[name]
            blob = getattr(frame.f_locals[argument], key)
            called.clear()
        called[place, code.co_firstlineno] = None


def write():
    if whole:
        with open(os.path.join(os.environ["BLOB_WAY"], str(os.getpid())), "w") as file:
            file.writelines(f"{place}:{line}\\n" for place, line in whole)


if "BLOB_WAY" in os.environ:
    atexit.register(write)
    sys.setprofile(note)
    threading.setprofile(note)
"""
"""A profile hook that Python runs at the start of both processes: the functions that were called for the last blob."""

COPY = """
import sys
from image_syncer import sync
from image_syncer.config import *
from image_syncer.oci import Repository
from image_syncer.registry import Credential

source, destination = sys.argv[1:]
target = Destination(Repository(destination, "team/app"))
rule = Rule(Repository(source, "team/app"), TagSelection(), (target,))
book = RegistryBook([RegistryEntry(each, Credential("jo", "secret"), True, max_connections=2) for each in (source, destination)])
report = sync(Configuration((rule,), book), Settings(workers=1))
sys.exit(report.exit_code)
"""  # noqa: E501


def functions_of(place: str) -> dict[int, str]:
    """The names of the functions of a file by their first lines; properties and special methods are not counted."""
    tree = ast.parse((ENGINE_ROOT / "image_syncer" / place).read_text(encoding="utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [ast.unparse(each) for each in node.decorator_list]
            is_property = any(each == "property" or each.endswith(".setter") for each in decorators)
            if not is_property and not node.name.startswith("__"):
                found[min([node.lineno, *(each.lineno for each in node.decorator_list)])] = node.name
    return found


def test_the_way_of_a_blob_is_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    (way := tmp_path / "way").mkdir()
    path = os.pathsep.join([str(tmp_path), str(ENGINE_ROOT), str(CLI_ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "BLOB_WAY": str(way)}
    behaviour = Behaviour(bearer=TokenService(), users={"jo": "secret"})
    with serve_in_thread(behaviour=behaviour) as source, serve_in_thread(behaviour=behaviour) as destination:
        push_to(source.storage, "team/app", ContentBuilder(1).image(8, layer_bytes=64 * 1024), ["v1"])
        command = [sys.executable, "-c", COPY, source.address, destination.address]
        subprocess.run(command, env=environment, check=True, timeout=60)
    ways = [file.read_text().splitlines() for file in way.iterdir()]
    assert len(ways) == len(["coordinator", "worker"])
    called = {}
    for line in sorted({line for each in ways for line in each}):
        place, _, number = line.partition(":")
        name = functions_of(place).get(int(number), "")
        if name and name not in BESIDE:
            called[line] = f"{place.removesuffix('.py').replace('/', '.')}.{name}"
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("\n## One blob, function by function\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE))
    assert {name for name in listed if name.rpartition(".")[2] not in BESIDE} == set(called.values())
    assert len(called) <= MOST_FUNCTIONS
    assert len({line.partition(":")[0] for line in called}) <= MOST_FILES
