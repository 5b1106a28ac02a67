"""Workers that are forked from a zygote: what they must not share with each other, with the zygote or with the program
that embeds the library, and what happens where the zygote is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import audit_registry
from process.conftest import MIB, Pair
from support.processes import children_of, wait_until, zygotes_of
from support.sync_process import SOURCE_ROOTS, RunFiles, SyncProcess

if TYPE_CHECKING:
    from support.processes import Process


@pytest.fixture
def slow_pair(pair: Pair) -> Pair:
    """Blobs that are under way for as long as a test looks."""
    pair.add_images(4, layer_bytes=2 * MIB)
    pair.slow_down(MIB)
    return pair


def the_zygote(run: SyncProcess) -> Process:
    [zygote] = zygotes_of(run.pid)
    return zygote


def inodes(process: Process) -> set[str]:
    """Files, sockets and pipes that it has open: two processes share one by its number. Event descriptors have none."""
    return {name for name in process.open_files if "anon_inode" not in name and not name.startswith("/proc")}


def test_workers_share_no_descriptor_with_each_other_nor_with_the_zygote(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "2", "--small-blobs", "0") as run:
        first, second = run.wait_for_workers(2)
        wait_until(lambda: slow_pair.source.counters.values().count("get blob") >= 2, "both have a blob")
        zygote = the_zygote(run)
        shared = {"/dev/null"}
        assert inodes(first) & inodes(second) == shared
        for worker in (first, second):
            assert inodes(worker) & inodes(zygote) == shared
            # Its end of the socket to the coordinator, and of the pipe for what it prints.
            assert {name.partition(":")[0] for name in inodes(worker) & inodes(run.process)} <= {"pipe", "/dev/null"}
        slow_pair.speed_up()
        assert run.wait() == 0, run.err
    slow_pair.assert_copied()
    assert run.orphans == []


def test_no_signal_handler_of_the_coordinator_is_left(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "1", "--small-blobs", "0") as run:
        [worker] = run.wait_for_workers(1)
        for process in (worker, the_zygote(run)):
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            masks = dict(line.split(":\t", 1) for line in status if line.startswith("Sig"))
            ignored, caught = (int(masks[name], 16) for name in ("SigIgn", "SigCgt"))
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                assert ignored >> (number - 1) & 1, f"{process} does not ignore {number.name}"
            assert not caught >> (signal.SIGTERM - 1) & 1
        slow_pair.speed_up()
        assert run.wait() == 0, run.err


SECRET = "correct-horse-battery-staple"


def has_in_memory(process: Process, text: bytes) -> bool:
    """Whether `text` is in what the process can write to (proc(5): maps, mem)."""
    maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            first, last = (int(bound, 16) for bound in span.split("-"))
            memory.seek(first)
            if text in memory.read(last - first):
                return True
    return False


def test_no_worker_and_no_zygote_has_a_password(slow_pair: Pair) -> None:
    files = RunFiles(slow_pair.directory / "secret")
    files.write(slow_pair.source.address, slow_pair.destination.address, slow_pair.images)
    auth = json.loads(files.auth.read_text())
    files.auth.write_text(json.dumps({**auth, "other.example": {"username": "robot", "password": SECRET}}))
    with SyncProcess(files, "--workers", "2", "--small-blobs", "0") as run:
        workers = run.wait_for_workers(2)
        wait_until(lambda: slow_pair.source.counters.values().count("get blob") >= 2, "both have a blob")
        assert has_in_memory(run.process, SECRET.encode()), "else this test sees nothing"
        assert [has_in_memory(each, SECRET.encode()) for each in (the_zygote(run), *workers)] == [False] * 3
        slow_pair.speed_up()
        assert run.wait() == 0, run.err


ANSWERS_LATE = """
import time
from image_syncer.worker import zygote
zygote.ANSWER_S = 0.5
before = zygote._answer
def answer(kind, *more):
    if kind == zygote._FORKED:
        time.sleep(60)
    return before(kind, *more)
zygote._answer = answer
"""


def forked_workers(session: int) -> list[str]:
    """The numbers of processes of this session that are workers and were forked, whoever is their parent now."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        if name == "syncer-worker" and rest.split()[3] == str(session):
            found.append(stat.parent.name)
    return found


def test_a_worker_whose_fork_was_given_up_ends(slow_pair: Pair) -> None:
    # It has the socket that it was forked with: two readers of one socket would each get a part of what is said.
    with slow_pair.run("--workers", "1", "--small-blobs", "0", sabotage=ANSWERS_LATE) as run:
        wait_until(lambda: forked_workers(run.pid), "a worker that the coordinator does not hear of")
        run.wait_for_workers(1)
        wait_until(lambda: slow_pair.source.counters.values().count("get blob") >= 1, "another has a blob")
        wait_until(lambda: not forked_workers(run.pid), "the end of the one that was given up")
        slow_pair.speed_up()
        assert run.wait() == 0, run.err
        [told] = run.events("workers are not forked any more")
        assert told["reason"] == "the process that forks workers does not answer"
        assert run.events("worker lost") == []
    slow_pair.assert_copied()
    assert run.orphans == []


def test_no_more_workers_are_asked_for_than_fit_into_the_socket() -> None:
    program = """
        import asyncio, os, signal, socket
        from image_syncer.worker import zygote
        process = zygote.start_zygote()
        os.kill(process._pid, signal.SIGSTOP)
        async def ask():
            pairs = [socket.socketpair() for _ in range(100)]
            asked = [asyncio.ensure_future(process.fork(theirs, 1)) for _, theirs in pairs]
            await asyncio.sleep(0.1)
            assert process.is_there
            process.close()
            errors = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(error) for error in errors} == {EOFError}, errors
        asyncio.run(ask())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_descriptor_above_the_limit_of_open_files_ends_no_zygote(pair: Pair) -> None:
    # A shell may have lowered the limit after it had opened files.
    pair.add_images(2, layer_bytes=1000)
    with pair.run(
        "--workers", "1", launcher=("bash", "-c", 'exec 251</dev/null; ulimit -S -n 200; exec "$@"', "-")
    ) as run:
        assert run.wait() == 0, run.err
        assert run.events("workers are not forked any more") == []
    pair.assert_copied()


def test_a_run_whose_zygote_is_killed_goes_on_with_new_interpreters(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "1", "--small-blobs", "0") as run:
        [worker] = run.wait_for_workers(1)
        os.kill(the_zygote(run).pid, signal.SIGKILL)
        wait_until(lambda: not zygotes_of(run.pid), "the end of the zygote")
        assert worker.is_alive
        os.kill(worker.pid, signal.SIGKILL)
        [other] = run.wait_for_workers(1, but=[worker.pid])
        assert other in children_of(run.pid)
        slow_pair.speed_up()
        assert run.wait() == 0, run.err
        [lost] = run.events("worker lost")
    assert lost["pid"] == worker.pid
    slow_pair.assert_copied()
    assert run.orphans == []


def test_a_run_whose_zygote_was_stopped_ends_all_the_same(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "1", "--small-blobs", "0") as run:
        run.wait_for_workers(1)
        os.kill(the_zygote(run).pid, signal.SIGSTOP)
        slow_pair.speed_up()
        assert run.wait() == 0, run.err
    slow_pair.assert_copied()
    assert run.orphans == []


def test_a_worker_that_is_killed_is_replaced_from_the_same_zygote(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "1", "--small-blobs", "0") as run:
        [worker] = run.wait_for_workers(1)
        zygote = the_zygote(run)
        os.kill(worker.pid, signal.SIGKILL)
        [other] = run.wait_for_workers(1, but=[worker.pid])
        assert children_of(zygote.pid) == [other]
        slow_pair.speed_up()
        assert run.wait() == 0, run.err
        [lost] = run.events("worker lost")
    assert "was killed (SIGKILL)" in lost["why"]
    slow_pair.assert_copied()


def own_name() -> str:
    """A name of this machine that leads to the loopback address and that libcurl has to look up: it knows "localhost"
    by itself.
    """
    name = socket.gethostname()
    try:
        addresses = {found[4][0] for found in socket.getaddrinfo(name, None, socket.AF_INET)}
    except OSError:
        addresses = set()
    return name if addresses == {"127.0.0.1"} else "localhost"


def test_names_are_resolved_by_libcurl_before_and_after_a_worker_dies(pair: Pair, tmp_path: Path) -> None:
    """The coordinator's own multi handle has resolved names by then, which a process forked from it would not survive;
    the replacement comes from the zygote, which has none.
    """
    pair.add_images(4, layer_bytes=2 * MIB)
    pair.slow_down(MIB)
    files = RunFiles(tmp_path / "by-name")
    source, destination = (one.address.replace("127.0.0.1", own_name()) for one in (pair.source, pair.destination))
    files.write(source, destination, pair.images)
    with SyncProcess(files, "--workers", "1", "--small-blobs", "0") as run:
        [worker] = run.wait_for_workers(1)
        wait_until(lambda: pair.source.counters.values().count("get blob"), "it has a blob")
        os.kill(worker.pid, signal.SIGKILL)
        run.wait_for_workers(1, but=[worker.pid])
        pair.speed_up()
        assert run.wait() == 0, run.err
        assert len(run.events("worker lost")) == 1
    assert audit_registry(pair.destination.url, pair.images).mistakes == []


def test_without_a_fork_workers_are_new_interpreters(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "1", "--small-blobs", "0", environment={"IMAGE_SYNCER_SPAWN": "1"}) as run:
        [worker] = run.wait_for_workers(1)
        assert zygotes_of(run.pid) == []
        assert worker in children_of(run.pid)
        slow_pair.speed_up()
        assert run.wait() == 0, run.err
    slow_pair.assert_copied()


EMBEDDING = """
    import json, os, random, signal, sys, threading
    {before}
    from image_syncer.worker.zygote import start_zygote
    zygote = start_zygote()
    print(json.dumps(zygote is None))
    if zygote is not None:
        zygote.close()
"""


@pytest.mark.parametrize(
    ("before", "spawns"),
    [
        ("", False),
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", True),
        ("os.environ['IMAGE_SYNCER_SPAWN'] = '1'", True),
    ],
    ids=["alone", "threads", "unwanted"],
)
def test_a_program_with_threads_is_not_forked(before: str, spawns: bool) -> None:
    program = textwrap.dedent(EMBEDDING).format(before=before)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
    )
    assert (json.loads(done.stdout), done.stderr) == (spawns, "")


INSIDE = """
import asyncio, atexit, json, os, random, signal, socket, sys
from image_syncer.worker import process
from image_syncer.worker.zygote import start_zygote

kept = open(sys.argv[1], "w")   # its number must not be given to a socket of a worker
kept.write("in the buffer of the parent")
atexit.register(lambda: os.write(2, b"atexit\\n"))
signal.signal(signal.SIGTERM, lambda *_: os.write(2, b"handled\\n"))
random.seed(1)

def main(fd):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    told = {
        "handlers": [each.name for each in handlers],
        "wakeup": signal.set_wakeup_fd(-1),
        "kept": os.readlink(f"/proc/self/fd/{kept.fileno()}"),
        "random": random.random(),
        "openssl": __import__("ssl").RAND_bytes(8).hex(),
        "stdin": os.readlink("/proc/self/fd/0"),
        "core": __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)[0],
        "name": open("/proc/self/comm").read().strip(),
        "threads": len(os.listdir("/proc/self/task")),
    }
    print("printed")
    socket.socket(fileno=fd).sendall(json.dumps(told).encode())
    sys.exit(3)

process.main = main
zygote = start_zygote()

async def ask():
    ours, theirs = socket.socketpair()
    output, its_output = os.pipe()
    worker = await zygote.fork(theirs, its_output)
    theirs.close(); os.close(its_output)
    await asyncio.wait_for(worker.ended(), 30)
    with ours, open(output, "rb") as printed:
        return {**json.loads(ours.recv(65536)), "printed": printed.read().decode(), "code": worker.exit_code}

async def both():
    return [await ask(), await ask()]

print(json.dumps(asyncio.run(both())))
zygote.close()
kept.close()
"""


def test_what_a_worker_finds_when_it_begins(tmp_path: Path) -> None:
    file = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
    )
    first, second = json.loads(done.stdout)
    for told in (first, second):
        assert told["handlers"] == ["SIG_DFL", "SIG_DFL", "SIG_IGN"]
        assert (told["wakeup"], told["kept"], told["stdin"]) == (-1, "/dev/null", "/dev/null")
        assert (told["core"], told["name"], told["threads"]) == (0, "syncer-worker", 1)
        assert told["printed"].startswith("printed\n")
        assert "SystemExit: 3" in told["printed"]
        assert told["code"] == 70
    # Neither the module `random`, which the parent has seeded, nor OpenSSL gives two workers the same numbers.
    assert first["random"] != second["random"]
    assert first["openssl"] != second["openssl"]
    assert done.stderr == "atexit\n"  # once: of the parent
    assert file.read_text() == "in the buffer of the parent"


def test_the_zygote_ends_with_the_coordinator(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "2", "--small-blobs", "0") as run:
        workers = run.wait_for_workers(2)
        zygote = the_zygote(run)
        run.signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not any(each.is_alive for each in (*workers, zygote)), "the end of all processes")
