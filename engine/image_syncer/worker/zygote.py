"""The zygote: a process of one thread from which the workers of this machine are forked.

A new interpreter spends a quarter of a CPU second on imports; a fork takes a few milliseconds and shares memory. The
zygote is forked before the coordinator has an event loop or a libcurl handle, because these do not survive a fork (a
multi handle that has resolved a name hangs in the child, without libcurl's resolver threads). It imports the worker's
modules for the first worker, and never makes a loop or a handle. `_forget_the_parent` resets what a fork shares. When
the coordinator dies, its sockets close, and so the zygote and the workers end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.telemetry.processes import ForkedUsage

if TYPE_CHECKING:
    from collections.abc import Iterator


SPAWN_VARIABLE = "IMAGE_SYNCER_SPAWN"
"""Set in the environment: every worker is a new interpreter."""
ANSWER_S = 10.0
"""For an answer of the zygote, which may have to import modules first. One that does not answer is given up."""
MOST_ASKED = 16
"""Workers that may be asked for at once: the requests have to fit into the buffer of the socket."""
_GONE = "the process that forks workers is gone"
_FORK = b"fork"
_ANSWER = struct.Struct("=ciidq")
"""The kind of the message, a pid, an errno or an exit code (negative: the signal that ended it), and what the zygote
and its ended workers have used: CPU seconds, and the peak memory of the largest in bytes.
"""
_FORKED, _FAILED, _ENDED = b"f", b"x", b"e"
_CRASHED = 70  # EX_SOFTWARE of sysexits.h
_PEAK_UNIT = 1024
"""`ru_maxrss` is in KiB on Linux."""
_LAST_STANDARD_FD = 2
_NAME, _NAME_OF_WORKERS = "syncer-zygote", "syncer-worker"
"""Their names in ps(1) and top(1) (proc(5), `comm`); their command line is that of the coordinator."""


class ForkedWorker:
    """A worker that was forked: its `pid`, and a descriptor of its process."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        """When it has ended, as `subprocess.Popen.returncode`; None also where the zygote ended before it."""
        self._pidfd = pidfd
        self._ended = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._ended.is_set()

    def kill(self) -> None:
        """SIGKILL; nothing happens where it has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def ended(self) -> None:
        """Return when it has ended."""
        await self._ended.wait()

    def note_end(self, exit_code: int | None) -> None:
        """It has ended."""
        self.exit_code = exit_code
        os.close(self._pidfd)
        self._pidfd = -1
        self._ended.set()

    async def watch(self) -> None:
        """Wait for its end without the zygote, which would have reported its exit code."""
        await readable(self._pidfd)
        self.note_end(None)


async def readable(fd: int) -> None:
    """Return when `fd` can be read; a descriptor of a process, when that has ended."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)


class Zygote:
    """The coordinator's side of the zygote with this `pid`; `pidfd` is a descriptor of that process.

    The protocol, over a socket pair of type SOCK_SEQPACKET: the coordinator sends FORK with two descriptors (the
    worker's socket, and where its output goes); the answer is the worker's pid with a descriptor of the process
    (pidfd_open(2)), or an errno. When a worker has ended, its pid and exit code follow.
    """

    def __init__(self, pid: int, pidfd: int, own_socket: socket.socket) -> None:
        self._pid = pid
        self._pidfd = pidfd
        self._socket = own_socket
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: deque[asyncio.Future[ForkedWorker]] = deque()
        self._workers: dict[int, ForkedWorker] = {}
        self._orphans: set[asyncio.Task[None]] = set()
        self._usage = ForkedUsage()
        self._room = asyncio.Semaphore(MOST_ASKED)

    @property
    def is_there(self) -> bool:
        """Whether it can fork workers."""
        return self._socket.fileno() >= 0

    async def fork(self, worker_socket: socket.socket, output: int) -> ForkedWorker:
        """A new worker on `worker_socket`, whose standard output and error are `output`.

        Raises OSError where there is no room for a process, TimeoutError or EOFError where the zygote is gone: then a
        worker may have been forked, so the other end of `worker_socket` must be closed.
        """
        async with self._room:
            if not self.is_there:
                raise EOFError(_GONE)
            loop = asyncio.get_running_loop()
            if self._loop is None:
                self._loop = loop
                loop.add_reader(self._socket.fileno(), self._read)
                # The soft limit of open files may have been raised since.
                files = resource.RLIMIT_NOFILE
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(self._pid, files, resource.getrlimit(files))
            answer: asyncio.Future[ForkedWorker] = loop.create_future()
            try:
                socket.send_fds(self._socket, [_FORK], [worker_socket.fileno(), output])
            except OSError as error:
                self.close()
                raise EOFError(_GONE) from error
            self._asked.append(answer)
            try:
                return await asyncio.wait_for(answer, ANSWER_S)
            except asyncio.TimeoutError as error:
                self.close()
                raise TimeoutError("the process that forks workers does not answer") from error

    def close(self) -> None:
        """End it. Its workers continue, but their exit codes stay unknown."""
        if not self.is_there:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        # It holds nothing that could be lost. A program that reaps every child may have waited for it: then its number
        # may be that of another process, but not the descriptor.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._usage.forget()  # the system counts it now, as a child that has ended
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(EOFError(_GONE))
        for worker in self._workers.values() if self._loop is not None and self._loop.is_running() else ():
            task = asyncio.ensure_future(worker.watch())
            self._orphans.add(task)
            task.add_done_callback(self._orphans.discard)
        self._workers.clear()

    def _read(self) -> None:
        try:
            data, fds, _flags, _address = socket.recv_fds(self._socket, _ANSWER.size, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self.close()
            return
        kind, pid, number, cpu_s, peak_bytes = _ANSWER.unpack(data)
        self._usage.note(cpu_s, peak_bytes)
        if kind == _ENDED:
            self._workers.pop(pid).note_end(number)
            return
        answer = self._asked.popleft()
        if kind == _FORKED:
            worker = ForkedWorker(pid, fds[0])
            self._workers[pid] = worker
            if answer.done():  # its start was given up
                worker.kill()
            else:
                answer.set_result(worker)
        elif not answer.done():
            answer.set_exception(OSError(number, os.strerror(number)))


def start_zygote() -> Zygote | None:
    """Fork a zygote: in a process of one thread outside of an event loop, on a system with pidfd_open(2). None where
    that is not possible, and where the environment has IMAGE_SYNCER_SPAWN: then workers are new interpreters.
    """
    if os.environ.get(SPAWN_VARIABLE) or not _can_fork():
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        return None
    if pid == 0:
        with _last_words():
            _serve(theirs)
    theirs.close()
    ours.setblocking(False)
    return Zygote(pid, os.pidfd_open(pid), ours)


def _can_fork() -> bool:
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, and asks without raising
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except (AttributeError, OSError):
        return False


@contextlib.contextmanager
def _last_words() -> Iterator[None]:
    """In a child: end the process after the block, without running or flushing anything of its parent."""
    code = _CRASHED
    try:
        yield
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, a child must not continue as its parent
        with contextlib.suppress(Exception):
            os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code)


def _serve(own_socket: socket.socket) -> None:
    """Fork when asked, and report what has ended, until the coordinator closes the socket."""
    _forget_the_parent(own_socket.fileno())
    polled = select.poll()
    polled.register(own_socket, select.POLLIN)
    workers: dict[int, int] = {}
    while True:
        for fd, _events in polled.poll():
            if fd in workers:
                polled.unregister(fd)
                os.close(fd)
                pid, status = os.waitpid(workers.pop(fd), 0)
                own_socket.send(_answer(_ENDED, pid, os.waitstatus_to_exitcode(status)))
                continue
            asked, fds, _flags, _address = socket.recv_fds(own_socket, len(_FORK), 2)
            if not asked:
                return
            try:
                pid, pidfd = _fork_worker(own_socket, *fds)
            except OSError as error:
                own_socket.send(_answer(_FAILED, 0, error.errno or 0))
                continue
            finally:
                for each in fds:
                    os.close(each)
            workers[pidfd] = pid
            polled.register(pidfd, select.POLLIN)
            socket.send_fds(own_socket, [_answer(_FORKED, pid, 0)], [pidfd])


def _answer(kind: bytes, pid: int, number: int) -> bytes:
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    return _ANSWER.pack(kind, pid, number, cpu_s, ended.ru_maxrss * _PEAK_UNIT)


def _forget_the_parent(kept: int) -> None:
    """Reset what the fork shares, except the descriptor `kept`.

    Descriptors are pointed at /dev/null: closing them would free their numbers for new sockets, which a stale object of
    the embedding program could then close. `random` and OpenSSL seed themselves anew (`os.register_at_fork`,
    RAND_bytes(3)). `atexit` functions and buffers stay, since processes end by `os._exit`.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in _open_files() - {kept, null}:
        _replace(fd, null, inheritable=fd <= _LAST_STANDARD_FD)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ctrl-C, and the end of the terminal, reach the whole foreground group; the coordinator decides what follows.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.settrace(None)
    sys.setprofile(None)
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    _take_name(_NAME)


def _take_name(name: str) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def _open_files() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}


def _replace(fd: int, null: int, *, inheritable: bool = False) -> None:
    """Make `fd` another name of `null`, or close it where it is above the soft limit of open files (dup2(2): EBADF)."""
    try:
        os.dup2(null, fd, inheritable)
    except OSError:
        os.close(fd)


def _fork_worker(own_socket: socket.socket, worker_socket: int, output: int) -> tuple[int, int]:
    """Fork a worker; its pid and a descriptor of its process. Raises OSError where there is no room for it."""
    gc.disable()  # imports make hardly a cycle, and the search for cycles takes a tenth of their time
    from image_syncer.worker import process

    gc.enable()
    gc.freeze()  # workers do not search what they share, so its pages stay shared
    pid = os.fork()
    if pid == 0:
        with _last_words():
            for number in (1, 2):
                os.dup2(output, number)
            _take_name(_NAME_OF_WORKERS)
            own_socket.detach()
            for fd in _open_files() - {0, 1, 2, worker_socket}:
                _replace(fd, 0)
            sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
            process.main(worker_socket)
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)  # its number is not given out again before it was waited for
        os.waitpid(pid, 0)
        raise
