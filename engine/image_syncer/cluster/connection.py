"""Workers in the processes of a Dask cluster: its address, the connection to it, and the links to the workers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import ssl
import traceback
import uuid
import warnings
from collections import Counter
from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.telemetry import get_logger
from image_syncer.values import Value
from image_syncer.worker.protocol import FrameReader, Ready, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from image_syncer.dispatch.supervisor import WorkerLink
    from image_syncer.worker.protocol import Message, Setup


_MEND = "write tls://HOST:PORT"


class ClusterAddress(Value, frozen=True):
    """A scheduler ("tls://scheduler.example:8786"). The files are PEM: the CA of the cluster's certificates, the client
    certificate, and its key; None: from Dask's configuration (distributed.comm.tls).
    """

    address: str
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def files(self) -> dict[str, str]:
        """Return the files that are set, by their names in `distributed.Security`."""
        given = {"tls_ca_file": self.ca_file, "tls_client_cert": self.cert_file, "tls_client_key": self.key_file}
        return {name: path for name, path in given.items() if path is not None}


def parse_cluster_address(text: str) -> str:
    """Return the address of a scheduler. Raises ValueError with a message for users if it is none, or if tokens would
    not be encrypted.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("tls", "tcp") or not parts.hostname or port is None or parts.path.strip("/"):
        raise ValueError(f"{text} is no address of a Dask scheduler; {_MEND}")
    address = f"{parts.scheme}://{parts.netloc}"
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{parts.scheme}://{parts.hostname}:{port} has more than host and port; {_MEND}")
    if not is_private(address):
        raise ValueError(f"{address} is not encrypted, and tokens of registries would travel over it; {_MEND}")
    return address


def is_private(address: str) -> bool:
    """Return whether a connection to this address of Dask is encrypted, or stays on this machine."""
    parts = urlsplit(address)
    if parts.scheme == "tls":
        return True
    host = parts.hostname or ""
    try:
        return parts.scheme == "tcp" and ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "tcp" and host == "localhost"


_LOOK_AGAIN_S = 0.25
"""How often to look for a free Dask worker: a lost one is started again by its nanny, or by Kubernetes."""
BEGUN_WITHIN_S = 30.0
"""A Dask worker that starts nothing for so long is passed over for now."""
_MAX_NAMED = 5
_PACKAGE = "image-syncer"
_LOGGERS = ("distributed", "distributed.client")
"""The loggers to which Dask gives a level of their own."""
_VERSIONS = "Mismatched versions found"
"""Dask's warning about packages, such as numpy, that a run does not use; image-syncer checks its own version."""

_log = get_logger(__name__)


@contextlib.contextmanager
def quiet_dask() -> Iterator[None]:
    """Keep Dask from logging, and from warning of versions; restore its loggers and the warning filters afterwards."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=f"\\s*{_VERSIONS}")
    ours = warnings.filters[0]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the program has reset its filters
            warnings.filters.remove(ours)  # type: ignore[attr-defined]
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def file_digests(paths: Iterable[str]) -> dict[str, str | None]:
    """Return the SHA-256 of each file; None if it cannot be read here. Dask workers call this by its name."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = sha256(Path(path).read_bytes()).hexdigest()
        except OSError:  # noqa: PERF203 - of each by itself
            found[path] = None
    return found


class Engine(NamedTuple):
    """A worker of the engine in a Dask worker's process: its place, the stream to it, and Dask's future of it."""

    place: str
    comm: Any
    future: Any


class ClusterConnection:
    """A client of the scheduler at `cluster`, and the `WorkerSource` with one worker in each Dask worker. `files` maps
    each file that workers must have too to the registry that needs it; `open_files` is how many a worker may need.
    """

    def __init__(self, cluster: ClusterAddress, files: Mapping[str, str], open_files: int, connect_s: float) -> None:
        self._cluster = cluster
        self._files = files
        self._open_files = open_files
        self._connect_s = connect_s
        self._client: Any = None
        self._make: Any = None
        self._arguments: dict[str, Any] = {}
        self._taken: set[str] = set()
        self._usable: set[str] = set()
        self._refused: dict[str, str] = {}
        self._losses: Counter[str] = Counter()
        self._quiet = contextlib.ExitStack()
        self.warnings: list[str] = []

    def make(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> WorkerLink:
        """See `WorkerSource`."""
        return DaskWorker(identity, self, on_message=on_message, on_end=on_end)

    def take_warnings(self) -> list[str]:
        """See `WorkerSource`."""
        taken, self.warnings = self.warnings, []
        return taken

    async def open(self, workers: int | None) -> int:
        """Connect, wait for `workers` Dask workers (None: for one) within the connect timeout, and return how many are
        used. Raises ConfigurationError if there are fewer, or if one cannot be used. One that does not answer is left
        out if the others suffice.
        """
        await self._connect()
        deadline = asyncio.get_running_loop().time() + self._connect_s
        while True:
            try:
                places = await self._places()
            except (OSError, asyncio.TimeoutError) as error:
                raise self._unanswered(error) from None
            await self._examine(self._new_among(places))
            if self._refused:
                raise ConfigurationError([Problem(place, None, None, what) for place, what in self._refused.items()])
            usable = self._usable.intersection(places)
            if len(usable) == len(places) >= (workers or 1):
                return workers or len(places)
            if asyncio.get_running_loop().time() >= deadline:
                silent = [place for place in places if place not in usable]
                if len(usable) < (workers or 1):
                    raise self._unusable(*_too_few(len(usable), workers, silent))
                for place in silent:
                    _log.warning("Dask worker not used", address=place, why="does not answer")
                return workers or len(usable)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def close(self) -> None:
        """Disconnect; what still runs in the cluster ends with that."""
        with self._quiet:
            if self._client is not None:
                with contextlib.suppress(OSError, asyncio.TimeoutError):
                    await self._client.close(timeout=self._connect_s)

    async def begin(self) -> Engine:
        """Start a worker of the engine on a free Dask worker; wait until there is one. Raises OSError."""
        place = await self._take()
        try:
            return await asyncio.wait_for(self._begin_at(place), BEGUN_WITHIN_S)
        except BaseException as error:
            self._losses[place] += 1
            self._taken.discard(place)
            if isinstance(error, Exception):  # any of Dask's
                raise OSError(f"{place}: {_words(error)}") from error
            raise

    def give_back(self, engine: Engine, *, lost: bool) -> None:
        """Free the Dask worker of a worker that has ended; after a loss, other Dask workers are preferred."""
        engine.comm.abort()
        engine.future.release()
        self._losses[engine.place] += lost
        self._taken.discard(engine.place)

    async def _connect(self) -> None:
        try:
            from distributed import Client, Security
        except ImportError as error:
            what, mend = f"--cluster needs dask.distributed, which is missing ({error})", "pip install"
            raise self._unusable(what, f"{mend} 'image-syncer[cluster]'") from None
        for path in (path for path, there in file_digests(self._cluster.files().values()).items() if there is None):
            raise self._unusable(f"{path} cannot be read", "name a PEM file")
        self._quiet.enter_context(quiet_dask())  # image-syncer reports the problems itself
        try:
            tls = self._cluster.address.startswith("tls:")
            security = Security(require_encryption=tls or None, **self._cluster.files())
            self._arguments = security.get_connection_args("client")
            self._make = partial(
                Client,
                self._cluster.address,
                asynchronous=True,
                set_as_default=False,
                security=security,
                timeout=self._connect_s,
                name=_PACKAGE,
            )
            self._client = self._make()
            await self._client
        except ssl.SSLError as error:
            raise self._unusable(f"TLS: {error}", "check --cluster-ca, --cluster-cert and --cluster-key") from None
        except (OSError, TypeError, RuntimeError, asyncio.TimeoutError) as error:
            raise self._unanswered(error) from None

    async def _places(self) -> list[str]:
        """Return the addresses of all Dask workers. Raises OSError or TimeoutError."""
        if self._client.status not in ("running", "connecting"):
            # The client gives up a scheduler that is away for longer than its timeout.
            given_up, self._client = self._client, self._make()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await given_up.close(timeout=self._connect_s)
            await self._client
        try:
            return sorted(await asyncio.wait_for(self._client.nthreads(), self._connect_s))
        except (AttributeError, RuntimeError) as error:  # Dask's errors for a closing client
            raise OSError(_words(error)) from None

    async def _take(self) -> str:
        while True:
            # Wait for a scheduler that restarts, or cannot be reached for a while.
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                places = await self._places()
                if (place := self._free_among(places)) is not None:
                    return place
                new = self._new_among(places)
                await self._examine(new)
                for place in self._refused.keys() & set(new):
                    _log.warning("Dask worker not used", address=place, why=self._refused[place])
                if (place := self._free_among(places)) is not None:
                    return place
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _free_among(self, places: Sequence[str]) -> str | None:
        """Take a free Dask worker, and return it; None if there is none."""
        free = [place for place in places if place in self._usable and place not in self._taken]
        if not free:
            return None
        place = min(free, key=lambda place: self._losses[place])
        self._taken.add(place)
        return place

    def _new_among(self, places: Sequence[str]) -> list[str]:
        return [place for place in places if place not in self._usable | self._refused.keys()]

    async def _begin_at(self, place: str) -> Engine:
        from distributed.comm import connect

        from image_syncer.cluster.engine_actor import EngineActor

        operation = f"image-syncer-{uuid.uuid4().hex}"
        future = self._client.submit(
            EngineActor,
            operation,
            self._open_files,
            key=operation,
            workers=[place],
            allow_other_workers=False,
            actor=True,
            retries=0,
            pure=False,
        )
        comm = None
        try:
            await future
            comm = await connect(place, timeout=self._connect_s, **self._arguments)
            await comm.write({"op": operation, "reply": False})
        except BaseException:
            if comm is not None:
                comm.abort()
            future.release()
            raise
        return Engine(place, comm, future)

    async def _examine(self, places: Sequence[str]) -> None:
        """Note for each of these Dask workers whether it can be used, or why not; one that does not answer is left
        out.
        """
        if not places:
            return
        ours = importlib.metadata.version(_PACKAGE)
        told = await self._ask(places, importlib.metadata.version, _PACKAGE)
        right = []
        for place in places:
            theirs = told.get(place)
            if not is_private(place):
                what = "is not encrypted, and tokens of registries would travel to it → start it with --protocol tls"
            elif isinstance(theirs, (OSError, asyncio.TimeoutError)):
                continue
            elif not isinstance(theirs, str):
                what = f"has no image-syncer → install image-syncer {ours} there, with its extra cluster"
            elif theirs != ours:
                what = f"has image-syncer {theirs}, and this is {ours} → install the same version on both"
            else:
                right.append(place)
                continue
            self._refused[place] = what
        for place, what in (await self._lacking(right)).items():
            self._refused[place] = what
        self._usable.update(place for place in right if place not in self._refused)

    async def _lacking(self, places: Sequence[str]) -> dict[str, str]:
        """Return which of these lack a file, or have another one, and which file."""
        if not self._files or not places:
            return {}
        ours = file_digests(self._files)
        found = {}
        told = await self._ask(places, file_digests, tuple(self._files))
        for place in places:
            theirs = told.get(place)
            for path, registry in self._files.items():
                there = theirs.get(path) if isinstance(theirs, dict) else None
                if there is None or there != ours[path]:
                    how = "lacks" if there is None else "has another"
                    found[place] = f"{how} {path}, which {registry} needs → put the same file there, at the same path"
                    break
        return found

    async def _ask(self, places: Sequence[str], function: Any, *arguments: Any) -> dict[str, Any]:
        """Return the answer of each, or its exception. They are asked at once: one that hangs delays no other."""

        async def ask(place: str) -> Any:
            try:
                asked = self._client.run(function, *arguments, workers=[place], on_error="return")
                answers: dict[str, Any] = await asyncio.wait_for(asked, self._connect_s)
            except (OSError, asyncio.TimeoutError) as error:
                return error
            return answers.get(place, OSError("gone"))

        return dict(zip(places, await asyncio.gather(*map(ask, places)), strict=True))

    def _unanswered(self, error: BaseException) -> ConfigurationError:
        mend = "check that a scheduler runs there, and its certificates (--cluster-ca, --cluster-cert)"
        return self._unusable(f"the scheduler does not answer: {_words(error)}", mend)

    def _unusable(self, what: str, mend: str) -> ConfigurationError:
        return ConfigurationError([Problem("--cluster", None, self._cluster.address, what, mend)])


def _too_few(there: int, wanted: int | None, silent: Sequence[str]) -> tuple[str, str]:
    if silent:
        known = f"{', '.join(silent[:_MAX_NAMED])}{', …' if len(silent) > _MAX_NAMED else ''}"
        return f"Dask workers that do not answer: {known}", "see what they do, or end them"
    if not there:
        return "the scheduler has no workers", "start some: dask worker tls://HOST:PORT"
    many = "one Dask worker" if there == 1 else f"{there} Dask workers"
    return f"--workers {wanted} is more than there are: {many}", "start more of them, or leave --workers out"


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


class DaskWorker:
    """A `WorkerLink` to a worker of the engine in a Dask worker's process. When it is lost, the warnings get a line.

    Frames are collected while others are being sent.
    """

    def __init__(
        self,
        identity: int,
        connection: ClusterConnection,
        *,
        on_message: Callable[[int, Message], None],
        on_end: Callable[[int], None],
    ) -> None:
        self.id = identity
        self._connection = connection
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | None = None
        self._place = ""
        self._starting: asyncio.Task[Engine] | None = None
        self._given_up = False
        self._frames: list[bytes] = []
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self.heard_at = self._loop.time()
        self.ready = False
        self.restarts = 0
        """How many workers it has replaced."""
        self.crash_text = ""
        """The traceback that it sent before it ended."""
        self.pid: int | None = None
        """The Dask worker's process; None until it is ready."""

    is_local = False
    """Even if it is: Dask's processes are not measured."""

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"Dask worker {self._place}" if self._place else "a Dask worker"

    @property
    def last_words(self) -> str:
        """The last line of its traceback, if it sent one."""
        return self.crash_text.strip().rpartition("\n")[2]

    async def start(self, setup: Setup) -> None:
        """Start it on the next free Dask worker. Raises OSError if that fails, or if it is killed meanwhile."""
        if self._is_given_up():
            raise OSError("given up")
        self._starting = self._loop.create_task(self._connection.begin())
        try:
            engine = self._engine = await self._starting
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            raise OSError("no Dask worker took it") from None
        finally:
            self._starting = None
        self._place = engine.place
        if self._is_given_up():  # while it began
            self._let_go(lost=False)
            raise OSError("given up")
        self.send(setup)
        works = (self._write(engine.comm), self._listen(engine.comm))
        self._tasks = [self._loop.create_task(work) for work in works]

    def send(self, message: Message) -> None:
        """Send a message. Does nothing if the worker is gone: `on_end` reports that."""
        if not self._given_up:
            self._frames.append(encode(message))
            self._more.set()

    def kill(self) -> None:
        """Close the connection, which ends the worker, or the process that it is in."""
        self._given_up = True
        if self._starting is not None:
            self._starting.cancel()
        if self._engine is not None:
            self._engine.comm.abort()

    async def end(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for its end, then close the connection."""
        self._ending = True
        if self._tasks:
            await asyncio.wait(self._tasks[1:], timeout=grace_s)
        self.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._let_go(lost=False)

    def how_it_ended(self) -> str:
        """Return a phrase for messages."""
        return "is gone, or its connection is"

    def _is_given_up(self) -> bool:
        return self._given_up

    def _let_go(self, *, lost: bool) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            self._connection.give_back(engine, lost=lost)

    async def _write(self, comm: Any) -> None:
        with contextlib.suppress(OSError):  # the reader notices it too
            while True:
                await self._more.wait()
                self._more.clear()
                frames, self._frames = b"".join(self._frames), []
                await comm.write(frames)

    async def _listen(self, comm: Any) -> None:
        incoming = FrameReader()
        try:
            while chunk := await _read(comm):
                for message in incoming.feed(chunk):
                    self.heard_at = self._loop.time()
                    if isinstance(message, Ready):
                        self.pid = message.pid
                    self._on_message(self.id, message)
        except Exception:  # noqa: BLE001 - an internal error; without `on_end` the run would never end
            self.crash_text = traceback.format_exc()
        self._given_up = True
        self._tasks[0].cancel()  # `end` is not called on a lost worker
        self._let_go(lost=not self._ending)
        if not self._ending:
            self._connection.warnings.append(
                f"{self.name} (process {self.pid}) was lost; others took over what it had begun"
            )
        self._on_end(self.id)


async def _read(comm: Any) -> bytes:
    """What comes next; nothing where the connection is lost."""
    try:
        return bytes(await comm.read())
    except OSError:
        return b""
