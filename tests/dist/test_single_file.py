"""The command in one file, from an empty folder, with nothing of ours installed: `tox -e dist` builds it and runs this.

Without IMAGE_SYNCER_SINGLE_FILE it is built here first, twice, in an environment that has what requirements/dist.lock names.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
GIVEN = os.environ.get("IMAGE_SYNCER_SINGLE_FILE")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what a build needs."""
    folder = tmp_path_factory.mktemp("builder")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    lock = PROJECT / "requirements" / "dist.lock"
    subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], check=True, timeout=300)
    return python


def built(python: Path, folder: Path) -> dict[str, bytes]:
    subprocess.run([python, PROJECT / ".ci" / "dist.py", folder], check=True, timeout=300)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def single(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GIVEN:
        return Path(GIVEN)
    folder = tmp_path_factory.mktemp("dist")
    built(request.getfixturevalue("builder"), folder)
    return folder / "image-syncer"


@pytest.fixture
def empty(tmp_path: Path, single: Path) -> Path:
    """A folder with that file alone."""
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    copy = tmp_path / "here" / "image-syncer"
    copy.write_bytes(single.read_bytes())
    copy.chmod(0o755)
    return tmp_path / "here"


def run(folder: Path, *words: str, umask: int = 0o022, **variables: str) -> subprocess.CompletedProcess[str]:
    """With the Python of the build on PATH, and nothing else of this environment."""
    path = f"{Path(sys.executable).parent}:{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    return subprocess.run(
        ["./image-syncer", *words],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder.parent / "home"), "LC_ALL": "C.UTF-8", **variables},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_answers_and_leaves_the_folder_as_it_was(empty: Path) -> None:
    ran = run(empty, "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("image-syncer ")
    assert [path.name for path in empty.iterdir()] == ["image-syncer"]


def test_the_main_job_works_with_its_worker_processes(empty: Path) -> None:
    ran = run(empty, "demo", "--size", "8MiB", "--workers", "2", "--no-progress")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_exit_codes_are_those_of_the_command(empty: Path) -> None:
    ran = run(empty, "--no-such-option")
    assert ran.returncode == 2
    assert "no such option" in ran.stderr


def test_what_is_unpacked_is_for_its_owner_alone(empty: Path) -> None:
    assert run(empty, "--version", umask=0).returncode == 0
    cache = empty.parent / "home" / ".cache" / "image-syncer"
    [unpacked] = [path for path in cache.iterdir() if path.is_dir()]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(unpacked.stat().st_mode) == 0o700
    files = [path for path in unpacked.rglob("*") if "__pycache__" not in path.parts]
    assert len(files) > 500
    assert {path.stat().st_mode & 0o022 for path in files} == {0}


def test_what_the_command_writes_is_as_the_umask_says(empty: Path) -> None:
    ran = run(empty, "config", "convert", "--images", "images.json", "--output", "own.yaml", umask=0o027)
    assert ran.returncode == 2  # there is no such file; and nothing is changed by having unpacked
    (empty / "images.json").write_text('{"registry.example/app:v1": "other.example/app"}')
    ran = run(empty, "config", "convert", "--images", "images.json", "--output", "own.yaml", umask=0o027)
    assert ran.returncode == 0, ran.stderr
    assert stat.S_IMODE((empty / "own.yaml").stat().st_mode) == 0o640


def test_it_unpacks_elsewhere_where_it_is_told(empty: Path) -> None:
    """A home that cannot be written: here, one that is no folder."""
    nowhere = {"HOME": "/proc/nowhere"}
    ran = run(empty, "--version", **nowhere)
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert line.startswith("image-syncer: cannot be unpacked: ")
    assert line.endswith("Set SHIV_ROOT to a folder that you alone can write.")
    assert run(empty, "--version", SHIV_ROOT=str(empty.parent / "elsewhere"), **nowhere).returncode == 0


def test_it_names_no_place_of_the_build(single: Path) -> None:
    with zipfile.ZipFile(single) as archive:
        assert len({entry.date_time for entry in archive.infolist()}) == 1
        names = archive.namelist()
        places = [str(PROJECT).encode(), b"/image-syncer-dist."]
        texts = {name: archive.read(name) for name in names if name.endswith((".json", ".py", "RECORD", "METADATA"))}
    assert len(names) == len(set(names))
    assert [name for name, text in texts.items() if any(place in text for place in places)] == []
    assert not any("/tests/" in name and "image_syncer" in name for name in names)


@pytest.mark.skipif(GIVEN is not None, reason="what was given is tried, and nothing built")
def test_the_same_sources_give_the_same_bytes(builder: Path, tmp_path: Path) -> None:
    assert built(builder, tmp_path / "a") == built(builder, tmp_path / "b")
