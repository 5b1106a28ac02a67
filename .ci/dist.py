"""Builds what is handed out: sdist, wheel, and the command in one file. `tox -e dist` runs it.

    python .ci/dist.py [FOLDER]        # with what requirements/dist.lock names

The same commit, the same Python and the same locks give the same bytes: times are that of the commit (or
SOURCE_DATE_EPOCH), and nothing names the place of the build. The sdist is made of a copy of the files that are in the
repository, the wheel of the sdist, the one file of the wheel and of what requirements/run.lock names, by hashes.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PROGRAM = "image-syncer"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"

# Runs before shiv's bootstrap, which unpacks where that was not done yet, and then starts the program.
MAIN = f"""\
import sys
if sys.version_info[:2] != {sys.version_info[:2]}:
    sys.exit("{PROGRAM}: this file is for Python {PYTHON} and no other: start it without naming one.")
import _start
import _bootstrap
try:
    _bootstrap.bootstrap()
except OSError as error:
    if _start.begun:
        raise
    sys.exit("{PROGRAM}: cannot be unpacked: %s. Set SHIV_ROOT to a folder that you alone can write." % error)
"""
# What is unpacked is for its owner alone, whatever the umask is; what the program writes is as the umask says.
START = """\
import os
umask = os.umask(0o077)
begun = False
def main():
    global begun
    begun = True
    os.umask(umask)
    from image_syncer_cli.main import main
    return main()
"""


def build(folder: Path) -> None:
    """Writes the three files into the folder."""
    os.umask(0o022)
    epoch = os.environ.setdefault("SOURCE_DATE_EPOCH", time_of_commit())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="image-syncer-dist.") as scratch:
        sdist = build_sdist(Path(scratch), folder, int(epoch))
        wheel = build_wheel(sdist, folder)
        single = build_single(Path(scratch), wheel, folder)
    for path in (sdist, wheel, single):
        print(f"{path} {path.stat().st_size:,} bytes")


def time_of_commit() -> str:
    """Seconds since 1970, as text."""
    return run("git", "log", "-1", "--format=%ct").strip()


def build_sdist(scratch: Path, folder: Path, epoch: int) -> Path:
    """From a copy, so that neither what lies about in the checkout nor setuptools' own files get into each other."""
    copy = scratch / "sources"
    for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (PROJECT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, copy / name)
    run(sys.executable, "-c", SDIST, str(scratch), cwd=copy)
    [made] = scratch.glob("*.tar.gz")
    return level(made, folder / made.name, epoch)


def level(made: Path, target: Path, epoch: int) -> Path:
    """The same archive without owners and with one time, which setuptools does not do."""
    plain = io.BytesIO()
    with tarfile.open(made) as source, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in sorted(source.getmembers(), key=lambda one: one.name):
            content = source.extractfile(member) if member.isfile() else None
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime, member.pax_headers = epoch, {}
            member.mode = 0o755 if member.isdir() else 0o644
            archive.addfile(member, content)
    target.write_bytes(gzip.compress(plain.getvalue(), mtime=epoch))
    return target


def build_wheel(sdist: Path, folder: Path) -> Path:
    """From the sdist, which shows that it is whole."""
    for old in folder.glob("*.whl"):
        old.unlink()
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(folder), str(sdist))
    [wheel] = folder.glob("*.whl")
    return wheel


def build_single(scratch: Path, wheel: Path, folder: Path) -> Path:
    """The command with all that it needs except Python: for this Python, on this kind of machine."""
    site = scratch / "site-packages"
    lock = PROJECT / "requirements" / "run.lock"
    pip("install", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile", "--target", site, "-r", lock)
    shutil.rmtree(site / "bin", ignore_errors=True)  # commands that name the Python of the build
    # By its name, and not by its path: pip would write that down.
    pip("install", "--no-deps", "--no-index", "--no-compile", "--find-links", wheel.parent, "--target", site, PROGRAM)
    shutil.rmtree(site / "bin")
    made = scratch / "made"
    words = ["--site-packages", site, "--entry-point", "_start:main", "--reproducible", "--root", f"~/.cache/{PROGRAM}"]
    words += ["--python", f"/usr/bin/env python{PYTHON}", "--output-file", made]
    run(sys.executable, "-m", "shiv", *map(str, words))
    return with_our_start(made, folder / PROGRAM)


def with_our_start(made: Path, target: Path) -> Path:
    """The same archive with our `__main__`."""
    with zipfile.ZipFile(made) as source, target.open("wb") as file:
        file.write(made.read_bytes().partition(b"\n")[0] + b"\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in source.infolist():
                if entry.filename != "__main__.py":
                    archive.writestr(entry, source.read(entry))
            for name, text in (("__main__.py", MAIN), ("_start.py", START)):
                entry = zipfile.ZipInfo(name, source.getinfo("__main__.py").date_time)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, text)
    target.chmod(0o755)
    return target


def pip(*words: str | Path) -> None:
    """Runs pip, quietly."""
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words))


def run(*words: str, cwd: Path = PROJECT) -> str:
    """Runs a program and returns what it prints; ends all where it fails, after its errors."""
    done = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:4])} … failed:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else PROJECT / "dist").resolve())
