"""What `pip install` brings: the two packages whole, the manual page, and nothing else.

The wheel is the one named by IMAGE_SYNCER_WHEEL, or else one built here from a copy of the sources, by this
environment's setuptools: no network, and nothing left in the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from architecture.source_tree import PROJECT

BUILD_INPUTS = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "docs/man", "engine", "cli")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SOURCE_ROOTS = (PROJECT / "engine", PROJECT / "cli")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    given = os.environ.get("IMAGE_SYNCER_WHEEL")
    return ZipFile(given or build_wheel(tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")))


def build_wheel(sources: Path, wheels: Path) -> Path:
    for name in BUILD_INPUTS:
        if (PROJECT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(PROJECT / name, sources / name, ignore=ignored)
        else:
            shutil.copy2(PROJECT / name, sources / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(wheels)], cwd=sources, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [built] = wheels.iterdir()
    return built


def test_the_wheel_holds_every_source_and_nothing_else(wheel: ZipFile) -> None:
    expected = {
        path.relative_to(root).as_posix()
        for root in SOURCE_ROOTS
        for path in root.rglob("*")
        if path.suffix in {".py", ".css", ".html", ".js"} or path.name in {"py.typed", "schema.json"}
    }
    packages = {name for name in wheel.namelist() if not re.match(r"[^/]+\.(?:dist-info|data)/", name)}
    assert packages == expected


def test_the_manual_page_lies_where_man_looks(wheel: ZipFile) -> None:
    """Below the prefix: /usr/local/share/man, of an installation for the whole machine."""
    [name] = [name for name in wheel.namelist() if ".data/" in name]
    assert name.endswith(".data/data/share/man/man1/image-syncer.1")
    assert wheel.read(name) == (PROJECT / "docs/man/image-syncer.1").read_bytes()


def test_both_packages_are_typed(wheel: ZipFile) -> None:
    assert {"image_syncer/py.typed", "image_syncer_cli/py.typed"} <= set(wheel.namelist())


def test_the_wheel_is_for_every_platform(wheel: ZipFile) -> None:
    assert Path(wheel.filename or "").name.endswith("-py3-none-any.whl")


def test_the_metadata_names_command_license_and_pythons(wheel: ZipFile) -> None:
    by_name = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
    metadata = HeaderParser().parsestr(wheel.read(by_name["METADATA"]).decode())
    assert metadata["Name"] == "image-syncer"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "image-syncer = image_syncer_cli.main:main" in wheel.read(by_name["entry_points.txt"]).decode()
    assert b"Apache License" in wheel.read(by_name["licenses/LICENSE"])
