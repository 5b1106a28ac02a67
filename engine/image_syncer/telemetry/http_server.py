"""A small HTTP server in a thread with its own loop and bounded connections, for metrics and `watch`.

It answers while a run is busy, and can report that the loop of the runs does not turn. No client can crash a run: an
exception in a task that is not awaited ends the run on whose loop it happens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry.logs import get_logger
from image_syncer.telemetry.metrics import MISSING
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from image_syncer.telemetry.metrics import RunMetrics


END_S = 5.0


class ServerThread:
    """Runs `server` in a thread from `start` to `stop`."""

    def __init__(self, server: HttpServer, name: str) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        """Return when the server listens. Raises what `HttpServer.start` raises."""
        self._thread.start()
        try:
            self._do(self._server.start())
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Stop the server and end the thread."""
        self._do(self._close())
        self._end()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _close(self) -> None:
        await self._server.stop()
        # No client gets an answer any more: a task that waits for one would only delay the end.
        for task in (left := asyncio.all_tasks() - {asyncio.current_task()}):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=END_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()


_MOST_PORT = 65535
_LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (_LOOPBACK, "::1", "localhost")


class Listen(Value, frozen=True):
    """An address to listen at; port 0 is any free port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK_NAMES

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Parse "127.0.0.1:8080", "[::1]:8080", or a port alone, on loopback. Raises ValueError with a sentence."""
    host, colon, port = text.strip().rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    host = (host[1:-1] if in_brackets else host) if colon else _LOOPBACK
    # An IPv6 address without brackets is ambiguous, and a slash belongs to a URL.
    is_host = bool(host) and (":" not in host or in_brackets) and not set(host) & set("/[]@ ")
    if not is_host or not port.isascii() or not port.isdigit() or int(port) > _MOST_PORT:
        raise ValueError(
            f"{text!r} is no address to listen at: write such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080"
        )
    return Listen(host, int(port))


MOST_CONNECTIONS = 128
CLOSE_S = 1.0

# aiohttp logs a traceback for each request that is not HTTP: clients must not fill our logs.
_UNHEARD = logging.getLogger(f"{__name__}.unheard")
_UNHEARD.propagate = False
_UNHEARD.addHandler(logging.NullHandler())

_log = get_logger(__name__)


class HttpServer:
    """Serves `address` from `start` to `stop`; subclasses answer in `handle`. `option` is for messages."""

    def __init__(self, listen: Listen, option: str) -> None:
        self._listen = listen
        self._option = option
        self._runner: web.ServerRunner | None = None
        self.address = ""

    async def start(self) -> None:
        """Begin to listen. Raises ConfigurationError where the address cannot be used."""
        server = _BoundedServer(self._handle, access_log=None, logger=_UNHEARD)
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_S)
        await runner.setup()
        site = web.TCPSite(runner, self._listen.host, self._listen.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigurationError(
                f"cannot listen at {self._listen}: {_why(error)}",
                hint=f"Give {self._option} an address of this machine, and a port that is free.",
            ) from None
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Accept no further request."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to one request."""
        raise NotImplementedError

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self.handle(request)
        except Exception:  # noqa: BLE001 - an internal error, which aiohttp would not report
            _log.exception("a question was not answered", path=request.path)
            return text_response(500, "an internal error of image-syncer; see its log")


class MetricsServer(HttpServer):
    """Serves the metrics of one run."""

    def __init__(self, listen: Listen, metrics: RunMetrics) -> None:
        super().__init__(listen, "--metrics")
        self._metrics = metrics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer GET /metrics, and nothing else."""
        if request.path != "/metrics":
            return text_response(404, "there is /metrics")
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "/metrics takes GET", {"Allow": "GET"})
        return exposition(self._metrics, request)


def _why(error: OSError) -> str:
    """Return the system's words for an error, without the address that asyncio puts before them."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


class _BoundedServer(web.Server):
    """A server that closes the oldest connections beyond `MOST_CONNECTIONS`: idle clients use up no descriptors."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Called for each new connection."""
        super().connection_made(handler, transport)
        for oldest in self.connections[: max(0, len(self.connections) - MOST_CONNECTIONS)]:
            if oldest.transport is not None:
                # Later: aiohttp logs an error for a connection that ends before it has begun.
                asyncio.get_running_loop().call_soon(oldest.transport.abort)


def exposition(metrics: RunMetrics | None, request: web.BaseRequest) -> web.Response:
    """Return the answer to GET /metrics."""
    if metrics is None:
        return text_response(501, MISSING)
    body, content_type = metrics.render(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def text_response(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer with one line of text."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)
