"""The processes that serve places: what is left when they are killed, who can reach them, and that nobody else opens
files.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.layout.layout_server import LayoutServer
from image_syncer.layout.layout_storage import LayoutStorage
from image_syncer.oci import Repository, digest_of
from support.processes import children_of, wait_until
from support.programs import find_program

if TYPE_CHECKING:
    from process.conftest import Pair

MIB = 2**20


def configuration_of(pair: Pair, place: str) -> Configuration:
    """All images of the source into one place."""
    rules = tuple(
        Rule(
            Repository(pair.source.address, image.repository),
            TagSelection(names=(image.tag,)),
            (Destination(Repository(place, image.repository)),),
        )
        for image in pair.images
    )
    return Configuration(rules, RegistryBook([RegistryEntry(pair.source.address, insecure=True)]))


def check_layout(root: Path) -> set[str]:
    """Every blob has the digest that it is called by, and every name stands for what is whole; returns the names."""
    for path in (root / "blobs").rglob("*"):
        if path.is_file():
            assert digest_of(path.read_bytes(), path.parent.name).hex == path.name
    storage = LayoutStorage(str(root), writes=True)
    try:
        names = {str(name) for name in storage.index.names}
        assert all(storage.tag(name.repository, name.tag) for name in storage.index.names)
        return names
    finally:
        storage.close()


def layout_server_pids() -> list[int]:
    return [child.pid for child in children_of(os.getpid()) if "layout.layout_server" in command_of(child.pid)]


@pytest.mark.extended
def test_a_gate_that_is_killed_is_started_again(pair: Pair, tmp_path: Path) -> None:
    pair.add_images(6, layers=2)
    root = tmp_path / "layout"
    killed = []

    def on_image(_result: object) -> None:
        """An image is there: now the process that writes the layout dies."""
        if not killed:
            killed.extend(layout_server_pids())
            os.kill(killed[0], signal.SIGKILL)

    with image_syncer.open_places(configuration_of(pair, f"oci:{root}")) as opened:
        report = image_syncer.sync(opened, Settings(workers=1), on_image=on_image)
        assert layout_server_pids() != killed
    assert len(killed) == 1
    assert [dict(failed.error or {}) for failed in report.failures] == []
    assert check_layout(root) == {f"{image.repository}:{image.tag}" for image in pair.images}
    assert not (root / ".image-syncer").exists()


@pytest.mark.extended
def test_what_a_killed_run_brought_is_whole_and_not_moved_again(pair: Pair, tmp_path: Path) -> None:
    pair.add_images(4, layers=2, layer_bytes=3 * MIB)  # small ones are fetched before it is known what is there
    pair.slow_down(6 * MIB)
    root = tmp_path / "layout"
    rules = {f"{pair.source.address}/{image.repository}:v1": f"oci:{root}:{image.repository}" for image in pair.images}
    files = {"auth": {pair.source.address: {"insecure": True}}, "images": rules}
    (tmp_path / "config.json").write_text(json.dumps(files))
    command = [sys.executable, "-m", "image_syncer_cli", "sync", "--config", str(tmp_path / "config.json")]
    blobs = root / "blobs/sha256"
    with subprocess.Popen([*command, "--streams", "2"], start_new_session=True) as run:
        wait_until(lambda: blobs.is_dir() and any(each.stat().st_size >= MIB for each in blobs.iterdir()), "a blob")
        others = children_of(run.pid)
        os.killpg(run.pid, signal.SIGKILL)
    wait_until(lambda: not any(each.is_alive for each in others), "the end of all processes")
    check_layout(root)
    there = sum(each.stat().st_size >= MIB for each in blobs.iterdir())
    pair.speed_up()
    before = pair.source.counters.values().count("get blob")
    assert subprocess.run(command, check=False).returncode == 0
    assert check_layout(root) == {f"{image.repository}:v1" for image in pair.images}
    total = sum(1 for image in pair.images for _ in image.manifest.all_blobs())
    assert pair.source.counters.values().count("get blob") - before <= total - there


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def test_only_we_can_reach_a_gate(tmp_path: Path) -> None:
    place, old_mask = f"oci:{tmp_path}/layout", os.umask(0)
    try:
        rule = Rule(Repository("r.example", "x"), TagSelection(names=("1",)), (Destination(Repository(place, "")),))
        with image_syncer.open_places(Configuration((rule,))) as opened:
            path = Path(str(opened.registries.host_settings(place).network.unix_socket))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(old_mask)
    assert not path.parent.exists()


@pytest.mark.extended
def test_a_gate_ends_with_whoever_started_it(tmp_path: Path) -> None:
    server = LayoutServer(f"oci:{tmp_path}/layout", str(tmp_path / "socket"), writes=True)
    server.start()
    [child] = [each for each in children_of(os.getpid()) if each.pid == server.pid]
    assert (tmp_path / "layout/.image-syncer/lock").exists()
    server.stop()
    wait_until(lambda: not child.is_alive, "the server to end")
    assert sorted(each.name for each in (tmp_path / "layout").iterdir()) == ["index.json", "oci-layout"]


@pytest.mark.extended
def test_what_is_left_when_whoever_started_a_gate_is_killed_is_taken_away(tmp_path: Path) -> None:
    parent = (
        "import os, signal\n"
        "from image_syncer.layout.layout_server import LayoutServer\n"
        "from image_syncer.layout.layout_server import socket_directory\n"
        "directory = socket_directory()\n"
        f"LayoutServer('oci:{tmp_path}/layout', directory.name + '/0', writes=True).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", parent], check=False, stderr=subprocess.PIPE, env=environment)
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, b"")
    wait_until(lambda: [each.name for each in tmp_path.iterdir()] == ["layout"], "the end of the socket's directory")


@pytest.mark.extended
def test_a_gate_whose_parent_does_not_listen_any_more_ends_in_silence(tmp_path: Path) -> None:
    """It was killed while the server began."""
    server = LayoutServer(f"oci:{tmp_path}/layout", "", writes=True)
    with subprocess.Popen(
        [sys.executable, "-c", server.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        told = {**server._settings, "unix_socket": None, "listener": None, "parent": os.getpid()}
        child.stdin.write(json.dumps(told).encode() + b"\n")
        child.stdin.flush()
        assert child.stderr.read() == b""
        assert child.wait() == 0
    assert not (tmp_path / "layout/.image-syncer").exists()


@pytest.mark.extended
def test_proxies_of_the_environment_do_not_stand_in_the_way(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.add_images(1)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with image_syncer.open_places(configuration_of(pair, f"oci:{tmp_path}/layout")) as opened:
        report = image_syncer.sync(opened, Settings(retries=0))
    assert not report.failures
    assert check_layout(tmp_path / "layout") == {"team/app0:v1"}


@pytest.mark.extended
def test_a_copy_between_registries_writes_no_file_and_reads_none_of_content(pair: Pair, tmp_path: Path) -> None:
    """What is written is what was asked for, the report and the log, and nothing else but the socket for `top`."""
    pair.add_images(3, layers=2, layer_bytes=3 * MIB)
    trace = tmp_path / "trace"
    calls = "trace=open,openat,openat2,creat,memfd_create,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink"
    launcher = (find_program("strace"), "-f", "-qq", "-e", calls, "-o", str(trace))
    with pair.run(launcher=launcher, environment={"PYTHONDONTWRITEBYTECODE": "1"}) as run:
        assert run.wait() == 0, run.err
    pair.assert_copied()
    changes = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|^\d+ +(?:creat|memfd_create|mkdir|rename|link|symlink)\w*\(")
    allowed = re.compile(
        rf"\"(?:{re.escape(str(pair.directory))}/run1(?:/run\.log|/report|\",.*O_TMPFILE)|/dev/|/proc/self/comm\")"
    )  # O_TMPFILE: a report that grows; comm: the names of forked processes
    socket = re.compile(
        r"^\d+ +(?:mkdir(?:at)?\(.*/image-syncer(?:-\d+)?\"|rename\w*\(.*/image-syncer(?:-\d+)?/\d+[^/]*\.sock\")"
    )
    changed = [line for line in trace.read_text().splitlines() if changes.search(line) and not socket.search(line)]
    written = [line for line in changed if not allowed.search(line)]
    assert written == []
    assert "/aiohttp/" not in trace.read_text(), "the server of places was loaded"
