"""The connection to a Dask cluster: which of its workers can be used, who has one, and a stream to each.

What is in files, told without showing it. Dask workers call it by its name.

What Dask would say beside us, in the process of a command or of a program: kept back as long as we use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import ssl
import uuid
import warnings
from collections import Counter
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.cluster.address import is_private
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from image_syncer.cluster.address import ClusterAddress

__all__ = ["ClusterConnection", "Engine", "file_digests", "quiet_dask"]


_LOGGERS = ("distributed", "distributed.client")
"""Those to which Dask gives a level of their own."""
_VERSIONS = "Mismatched versions found"
"""A table of packages, such as numpy, that a run uses nowhere; of image-syncer's own version a message tells."""


@contextlib.contextmanager
def quiet_dask() -> Iterator[None]:
    """Inside, Dask logs nothing and warns of no versions; afterwards its loggers and the filters of warnings are as the
    program had them.
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=f"\\s*{_VERSIONS}")
    ours = warnings.filters[0]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the program has made its filters anew
            warnings.filters.remove(ours)  # type: ignore[attr-defined]
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def file_digests(paths: Iterable[str]) -> dict[str, str | None]:
    """The SHA-256 of each file; None where it cannot be read here."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = sha256(Path(path).read_bytes()).hexdigest()
        except OSError:  # noqa: PERF203 - of each by itself
            found[path] = None
    return found


LOOK_AGAIN_S = 0.25
"""Where no Dask worker is free: one that was lost is started again by its nanny, or by Kubernetes."""
BEGUN_WITHIN_S = 30.0
"""A Dask worker that begins nothing for so long is passed over for now."""
_MOST_NAMED = 5
_PACKAGE = "image-syncer"

_log = get_logger(__name__)


class Engine:
    """A worker of the engine in a Dask worker's process: the stream to it, and where it is."""

    def __init__(self, place: str, comm: Any, future: Any) -> None:
        self.place = place
        self.comm = comm
        self.future = future


class ClusterConnection:
    """A client of the scheduler at `cluster`. `files` are those that workers must have as we do, each with the registry
    that needs it; `open_files` is how many a worker may need.
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

    async def open(self, workers: int | None) -> int:
        """Connect, and wait for `workers` Dask workers (None: for one), at most for the connect time-out; how many are
        used. Raises ConfigurationError where there are not so many, or one of them cannot be used; one that does not
        answer is left aside where the others suffice.
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
            await asyncio.sleep(LOOK_AGAIN_S)

    async def close(self) -> None:
        """Let go of the cluster; whatever of ours it still has goes with that."""
        with self._quiet:
            if self._client is not None:
                with contextlib.suppress(OSError, asyncio.TimeoutError):
                    await self._client.close(timeout=self._connect_s)

    async def begin(self) -> Engine:
        """A new worker of the engine, on a Dask worker that has none: waits until there is one. Raises OSError where it
        cannot be begun there.
        """
        place = await self._take()
        try:
            return await asyncio.wait_for(self._begin_at(place), BEGUN_WITHIN_S)
        except BaseException as error:
            self._losses[place] += 1
            self._taken.discard(place)
            if isinstance(error, Exception):  # whatever Dask has of them
                raise OSError(f"{place}: {_words(error)}") from error
            raise

    def give_back(self, engine: Engine, *, lost: bool) -> None:
        """It has ended: another may begin there, before others where it was not `lost`."""
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
        self._quiet.enter_context(quiet_dask())  # what it has to say, we say
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
        """The Dask workers that there are. Raises OSError or TimeoutError where the scheduler does not answer."""
        if self._client.status not in ("running", "connecting"):
            # It has given up a scheduler that was away for longer than its time-out.
            given_up, self._client = self._client, self._make()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await given_up.close(timeout=self._connect_s)
            await self._client
        try:
            return sorted(await asyncio.wait_for(self._client.nthreads(), self._connect_s))
        except (AttributeError, RuntimeError) as error:  # what Dask has for a client that is being closed
            raise OSError(_words(error)) from None

    async def _take(self) -> str:
        while True:
            # A scheduler that is started again, or cannot be reached for a while, is waited for.
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
            await asyncio.sleep(LOOK_AGAIN_S)

    def _free_among(self, places: Sequence[str]) -> str | None:
        """One that nobody has, which is taken herewith; None where there is none."""
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
        """Enter each of these Dask workers among those that can be used, or with the reason why not; one that does not
        answer is entered nowhere.
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
        """Which of these lack a file that we have, and which file."""
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
        """What each of them answers; an exception where it raised one, or says nothing: a process that stands still
        holds up nobody but itself.
        """

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
        known = f"{', '.join(silent[:_MOST_NAMED])}{', …' if len(silent) > _MOST_NAMED else ''}"
        return f"Dask workers that do not answer: {known}", "see what they do, or end them"
    if not there:
        return "the scheduler has no workers", "start some: dask worker tls://HOST:PORT"
    many = "one Dask worker" if there == 1 else f"{there} Dask workers"
    return f"--workers {wanted} is more than there are: {many}", "start more of them, or leave --workers out"


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
