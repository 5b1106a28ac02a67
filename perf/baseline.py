"""Another revision of this repository, in a folder and a virtual environment of its own.

The revision's files come out of git's objects (`git archive`), so the checkout, its index and its branches are not
touched. Where that revision depends on the same packages as the checkout, its environment borrows those that run this
program, and no network is needed; else it is installed with pip.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sysconfig
import tarfile
import tempfile
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import Mistake
from perf.tools import ROOT, Tool, image_syncer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["dependencies_of", "installed_baseline"]

_DEPENDENCIES = re.compile(r"^dependencies = \[\n(?P<lines>.*?)^\]", re.MULTILINE | re.DOTALL)
_BORROWED = "perf_borrowed.pth"


@contextmanager
def installed_baseline(revisions: Sequence[str], options: Sequence[str]) -> Iterator[list[Tool]]:
    """A tool for each revision, run with `options`, until the context is left.

    Raises Mistake where a revision is not there, is none of this tool, or cannot be installed.
    """
    with tempfile.TemporaryDirectory(prefix="image-syncer-baseline-") as name:
        yield [
            _install(revision, Path(name) / str(number), options)
            for number, revision in enumerate(dict.fromkeys(revisions))
        ]


def _install(revision: str, folder: Path, options: Sequence[str]) -> Tool:
    source, environment = folder / "source", folder / "venv"
    source.mkdir(parents=True)
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise Mistake(f"--baseline {revision}: this repository has no such revision")
    identity = commit.decode().strip()
    archive = folder / "source.tar"
    if _git("archive", "--format=tar", f"--output={archive}", identity) is None:
        raise Mistake(f"--baseline {revision}: git cannot read it")
    with tarfile.open(archive) as tar:
        with contextlib.suppress(AttributeError):  # Python 3.10's and 3.11's first releases know no filters
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(source)  # noqa: S202 - our own repository's files
    archive.unlink()
    if not (source / "cli" / "image_syncer_cli").is_dir():
        raise Mistake(f"--baseline {revision}: that revision has no image_syncer_cli")
    python = _make_environment(source, environment, revision)
    return image_syncer(revision, root=source, python=str(python), options=options, revision=identity)


def _make_environment(source: Path, environment: Path, revision: str) -> Path:
    same = dependencies_of(source / "pyproject.toml") == dependencies_of(ROOT / "pyproject.toml")
    venv.create(environment, with_pip=not same, symlinks=True)
    python = environment / "bin" / "python"
    if same:
        places = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        packages = next((environment / "lib").glob("python3*")) / "site-packages"
        # A path that a .pth file names is searched, but .pth files in it are not read: an editable install of the
        # checkout that lies there stays out.
        (packages / _BORROWED).write_text("".join(f"{place}\n" for place in places))
        return python
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Mistake(f"--baseline {revision}: pip cannot install what it depends on:\n{done.stderr.strip()[-1000:]}")
    return python


def dependencies_of(project: Path) -> list[str]:
    """The requirements of a pyproject.toml, sorted; Python 3.10 has no reader of that format."""
    found = _DEPENDENCIES.search(project.read_text()) if project.is_file() else None
    if found is None:
        return []
    return sorted(
        requirement["text"]
        for line in found["lines"].splitlines()
        if (requirement := re.match(r'\s*"(?P<text>[^"]+)"', line))
    )


def _git(*arguments: str) -> bytes | None:
    """What git says, None where it fails; the checkout may belong to somebody else."""
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise Mistake(f"--baseline needs git: {error.strerror}") from error
    return done.stdout if done.returncode == 0 else None
