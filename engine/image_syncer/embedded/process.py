"""The embedded registry in its own process, so that its costs are not those of the engine.

The settings come over the child's standard input, never in its arguments (they hold passwords). The child ends when
that input ends, at the latest when its parent dies.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.behaviour import Behaviour, behaviour_to_data
from image_syncer.embedded.catalogue_storage import DirectoryStorage, MemoryStorage
from image_syncer.embedded.counters import CounterValues
from image_syncer.embedded.doubles import parse_behaviour
from image_syncer.embedded.server import EmbeddedRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from image_syncer.embedded.storage import Storage


FINISH = b"finish"
"""Sent to the child before its input is closed, so that its storage finishes; a parent that dies sends nothing."""

SOCKETS_PREFIX = "image-syncer-"
"""The prefix of directories that hold only sockets."""

_SOURCE_ROOT = str(Path(__file__).parents[2])
_STOP_S = 5.0  # a child that has not ended by then is killed
_CONTROL_TIMEOUT_S = 30.0
_PARENT_POLL_S = 1.0
_PIECE_BYTES = 4096
_BACKLOG = 1024


class RegistryProcess:
    """A registry that runs in a child process until `stop`, or until the end of the block.

    With `root` it keeps everything below that directory, else in memory. `certificate` holds the paths of a
    certificate chain and its key (PEM): with it, the registry speaks TLS only. With `unix_socket`, it listens at that
    path only (mode 600). `storage` describes the storage that the `program` of a child class opens, as plain data.
    """

    program = "from image_syncer.embedded.process import serve_child; serve_child()"
    """The Python code of the child."""
    keeps_listening = False
    """Whether this process keeps the Unix socket open, so that clients wait while no child runs."""

    def __init__(  # noqa: PLR0913 - public signature
        self,
        root: str | os.PathLike[str] | None = None,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: tuple[str, str] | None = None,
        companion: bool = False,
        unix_socket: str | None = None,
        storage: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = {
            "storage": storage,
            "unix_socket": unix_socket,
            "root": None if root is None else os.fspath(root),
            "behaviour": behaviour_to_data(behaviour or Behaviour()),
            "host": host,
            "port": port,
            "certificate": certificate,
            "companion": companion,
        }
        self._certificate = certificate
        self._child: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self.address = ""
        """Host and port, "127.0.0.1:5000", or the path of the Unix socket; empty before `start`."""
        self.companion_address = ""
        """Host and port of the second address; empty without one."""
        self.described: dict[str, Any] = {}
        """The description of its storage (`Storage.described`)."""

    @property
    def url(self) -> str:
        """Scheme and address, without a slash at the end."""
        return f"{'http' if self._certificate is None else 'https'}://{self.address}"

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._running().pid

    def start(self) -> None:
        """Start the child and wait until it answers. Raises OSError if it cannot use its address or directory."""
        environment = dict(os.environ)
        paths = [_SOURCE_ROOT, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        unix_socket, descriptors = self._settings["unix_socket"], []
        if unix_socket is not None:
            self._listener = self._listener or _listen(str(unix_socket))
            descriptors = [self._listener.fileno()]
        child = subprocess.Popen(
            [sys.executable, "-c", self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=descriptors,
        )
        if not self.keeps_listening:
            self._stop_listening()
        self._child = child
        assert child.stdin is not None
        assert child.stdout is not None
        settings = {**self._settings, "listener": next(iter(descriptors), None), "parent": os.getpid()}
        child.stdin.write(orjson.dumps(settings) + b"\n")
        child.stdin.flush()
        line = child.stdout.readline()
        started: dict[str, Any] = (
            orjson.loads(line) if line else {"error": "the registry's process ended before it answered"}
        )
        if "error" in started:
            self.stop()
            raise OSError(started["error"])
        self.address = started["address"]
        self.companion_address = started["companion_address"]
        self.described = started["storage"]

    def stop(self) -> None:
        """Stop the child if it runs."""
        child, self._child = self._child, None
        self._stop_listening()
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.close()
            child.wait(_STOP_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            child.kill()
            child.wait()
        child.stdout.close()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def counters(self) -> CounterValues:
        """Return the current counts."""
        return CounterValues(**orjson.loads(self._control("GET", "/_counters")))

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Use `behaviour` from the next request on."""
        self._control("PUT", "/_behaviour", orjson.dumps(behaviour_to_data(behaviour)))

    def __enter__(self) -> RegistryProcess:  # noqa: PYI034 - Self came with Python 3.11
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError("the registry was not started, or has been stopped")
        return self._child

    def _control(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._running()
        connection: http.client.HTTPConnection
        if self._settings["unix_socket"] is not None:
            connection = _UnixConnection(self.address)
        elif self._certificate is None:
            connection = http.client.HTTPConnection(self.address, timeout=_CONTROL_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(
                self.address, timeout=_CONTROL_TIMEOUT_S, context=_trusting(self._certificate[0])
            )
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= http.client.BAD_REQUEST:
                raise RuntimeError(f"{method} {path}: {response.status} {answer.decode()}")
            return answer
        finally:
            connection.close()


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101 - as the rest of this module
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CONTROL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CONTROL_TIMEOUT_S)
        self.sock.connect(self._path)


def _trusting(certificate_path: str) -> ssl.SSLContext:
    """Return a context that trusts exactly the child's certificate, under any host name."""
    context = ssl.create_default_context(cafile=certificate_path)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def serve_child(open_storage: Callable[[dict[str, Any]], Storage] | None = None) -> None:
    """Run the child: read the settings from standard input, write the address to standard output, and serve.

    `open_storage` opens the storage for the settings; the parent gets the text of an OSError that it raises.
    """
    settings = orjson.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides what it means
    _raise_descriptor_limit()
    asyncio.run(_serve(settings, open_storage or _open_own))  # not uvloop: it has no sendfile


def _open_own(settings: dict[str, Any]) -> Storage:
    return MemoryStorage() if settings["root"] is None else DirectoryStorage(settings["root"])


async def _serve(settings: dict[str, Any], open_storage: Callable[[dict[str, Any]], Storage]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    parent = settings["parent"]
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    received = bytearray()
    threading.Thread(target=_watch_input, args=(loop, ended, received), daemon=True).start()
    try:
        registry = _build_registry(settings, open_storage)
        await registry.start()
    except OSError as error:
        _send({"error": str(error)})
        return
    described = dict(registry.storage.described())
    try:
        _send({"address": registry.address, "companion_address": registry.companion_address, "storage": described})
    except BrokenPipeError:  # the parent is gone already
        ended.set()
    while not ended.is_set() and os.getppid() == parent:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), _PARENT_POLL_S)
    await registry.stop()
    try:
        _send(_end(registry.storage, finishes=received.startswith(FINISH)))
    except BrokenPipeError:  # the parent died; its files are closed before its children get a new parent
        if settings["unix_socket"] is not None:
            _delete_socket(Path(settings["unix_socket"]))


def _delete_socket(path: Path) -> None:
    """Delete the socket of a killed parent, with its directory."""
    with suppress(OSError):
        path.unlink()
        if path.parent.name.startswith(SOCKETS_PREFIX):
            path.parent.rmdir()


def _end(storage: Storage, *, finishes: bool) -> dict[str, str]:
    """Close the storage, and return the last message to the parent."""
    try:
        if finishes:
            storage.finish()
        storage.close()
    except OSError as error:
        return {"error": str(error)}
    return {}


def _build_registry(settings: dict[str, Any], open_storage: Callable[[dict[str, Any]], Storage]) -> EmbeddedRegistry:
    context = None
    if settings["certificate"] is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*settings["certificate"])
    return EmbeddedRegistry(
        open_storage(settings),
        parse_behaviour(settings["behaviour"]),
        host=settings["host"],
        port=settings["port"],
        ssl_context=context,
        companion=settings["companion"],
        control=True,
        listener=None if settings["listener"] is None else socket.socket(fileno=settings["listener"]),
    )


def _watch_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event, received: bytearray) -> None:
    # Not sys.stdin: an interpreter that ends while a waiting thread holds its lock aborts.
    while piece := os.read(0, _PIECE_BYTES):
        received += piece
    with suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(ended.set)


def _send(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (soft, resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
