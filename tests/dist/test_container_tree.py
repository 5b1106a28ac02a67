"""docs/deploy/Dockerfile, followed without a container engine: its commands build the tree, which then runs as its user, in a
mount namespace of its own with a read-only root and an empty /tmp.

What an engine does and this does not: the base image. This machine's Python and system libraries stand for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import serve_in_thread
from image_syncer.embedded import ContentBuilder, push_to

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parents[2]
RECIPE = (PROJECT / "docs" / "deploy" / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (PROJECT / "docs" / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8")

# $1: the root to be, $2: the tree and $3: the Python, which stay where they are; the rest is the command.
IN_THE_TREE = """
set -eu
root=$1 tree=$2 python=$3 files=$4; shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
for folder in usr etc dev proc tmp files; do mkdir -p "$root/$folder"; done
for link in bin lib lib64; do [ -L "/$link" ] && ln -sfn "usr/$link" "$root/$link"; done
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for folder in /usr /etc /dev /proc "$tree" "$python"; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    case $folder in /dev | /proc) ;; *) mount -o remount,bind,ro "$root$folder" ;; esac
done
mount --bind "$files" "$root/files"
mount -o remount,bind,ro "$root/files"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid USER --regid GROUP --clear-groups --no-new-privs --bounding-set=-all \
    env -C /tmp -i "$@"
"""


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of that name, with lines that go on joined."""
    text = re.sub(r"\\\n\s*", "", RECIPE)
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def variables() -> dict[str, str]:
    """What ENV of the last stage sets."""
    [line] = instructions("ENV")
    return dict(word.split("=", 1) for word in line.split())


@dataclass
class Tree:
    """What the recipe built, and how it is run."""

    scratch: Path

    def run(self, *words: str, files: Path) -> subprocess.CompletedProcess[str]:
        environment = {**variables(), "PATH": f"{self.scratch}/opt/image-syncer/bin:/usr/bin:/bin"}
        user, group = instructions("USER")[0].split(":")
        script = IN_THE_TREE.replace("USER", user).replace("GROUP", group)
        root = self.scratch / "root"
        root.mkdir(exist_ok=True)
        root.chmod(0o755)
        given = [root, self.scratch / "opt", sys.base_prefix, files]
        pairs = [f"{name}={value}" for name, value in environment.items()]
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, given), *pairs, *words],
            umask=0o022,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The RUN lines, with the folders of the image below a scratch folder."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        pytest.skip("needs root, unshare and setpriv")
    scratch = tmp_path_factory.mktemp("image")
    sources = scratch / "source"
    for line in instructions("COPY"):
        *names, target = line.split()
        for name in names:
            if name.startswith("--from") or names[0].startswith("--from"):
                continue
            if (PROJECT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(PROJECT / name, sources / target, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(PROJECT / name, sources / target)
    for line in instructions("RUN"):
        command = re.sub(r"(?<![\w.])/(build|opt|wheels)\b", rf"{scratch}/\1", line)
        done = subprocess.run(
            ["sh", "-euc", command.replace("python -m venv", f"{sys.executable} -m venv")],
            cwd=sources,
            env={**os.environ, "LOCK": "run.lock"},
            umask=0o022,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Tree(scratch)


def write(folder: Path, files: Mapping[str, object]) -> Path:
    folder.mkdir()
    folder.chmod(0o755)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
        (folder / name).chmod(0o644)
    return folder


@pytest.mark.slow
def test_a_sync_works_as_that_user_on_a_read_only_root(tree: Tree, tmp_path: Path) -> None:
    with serve_in_thread() as source, serve_in_thread() as destination:
        push_to(source.storage, "team/app", ContentBuilder(1).image(3), ["v1"])
        auth = {place.address: {"insecure": True} for place in (source, destination)}
        images = {f"{source.address}/team/app:v1": f"{destination.address}/mirror/app"}
        files = write(tmp_path / "files", {"auth.json": auth, "images.json": images})
        words = ("--auth", "/files/auth.json", "--images", "/files/images.json", "--no-progress", "--verify")
        ran = tree.run("image-syncer", *words, files=files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("1 image: 1 copied")


@pytest.mark.slow
def test_the_demo_works_there(tree: Tree, tmp_path: Path) -> None:
    words = ("image-syncer", "demo", "--size", "8MiB", "--workers", "2", "--no-progress")
    ran = tree.run(*words, files=write(tmp_path / "files", {}))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
def test_it_is_that_user_and_can_write_nothing_but_tmp(tree: Tree, tmp_path: Path) -> None:
    asked = 'id -u; id -g; for place in /new "$0" /files/new; do touch "$place" || true; done; touch /tmp/new; ls /tmp'
    program = f"{tree.scratch}/opt/image-syncer/bin/new"
    ran = tree.run("sh", "-c", asked, program, files=write(tmp_path / "files", {}))
    assert ran.stdout.split()[:2] == ["65532", "65532"]
    assert ran.stderr.count("Read-only file system") == 3
    assert "new" in ran.stdout.split()


@pytest.mark.slow
def test_nothing_in_the_tree_can_be_written_by_others(tree: Tree) -> None:
    found = [path for path in (tree.scratch / "opt").rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert found == []
    assert not (tree.scratch / "opt/image-syncer/bin/pip").exists()


def test_the_recipe_keeps_its_promises() -> None:
    assert instructions("USER") == ["65532:65532"]
    assert instructions("ENTRYPOINT") == ['["image-syncer"]']
    assert [line for line in instructions("RUN") if "install" in line and "--no-cache-dir" not in line] == []
    networked = [part for line in instructions("RUN") for part in line.split("&&") if re.search(r"\binstall\b", part)]
    assert [part for part in networked if "--require-hashes" not in part and "--no-index" not in part] == []
    assert variables()["HOME"] == "/tmp"


def test_what_it_copies_is_there_and_let_in() -> None:
    names = [name.rstrip("/") for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]]
    allowed = [line[1:] for line in IGNORED.splitlines() if line.startswith("!")]
    assert len(names) > 5
    for name in names:
        assert (PROJECT / name).exists(), name
        assert any(name == one or one.startswith(f"{name}/") for one in allowed), name
