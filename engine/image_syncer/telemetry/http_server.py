"""A small HTTP server for those who ask how it goes: bounded, so that strangers take nothing away from runs."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from aiohttp import web

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry.logs import get_logger
from image_syncer.telemetry.metrics import MISSING

if TYPE_CHECKING:
    from image_syncer.telemetry.listening import Listen
    from image_syncer.telemetry.metrics import RunMetrics

__all__ = ["HttpServer", "MetricsServer", "exposition", "text_response"]

MOST_CONNECTIONS = 128
CLOSE_S = 1.0

# aiohttp writes a traceback for whatever is no HTTP: strangers who send such things must not fill our logs.
_UNHEARD = logging.getLogger(f"{__name__}.unheard")
_UNHEARD.propagate = False
_UNHEARD.addHandler(logging.NullHandler())

_log = get_logger(__name__)


class HttpServer:
    """Serves from `start` to `stop`; `address` is where. `option` is by which people say where it listens. Who derives
    from it answers in `handle`.
    """

    def __init__(self, listen: Listen, option: str) -> None:
        self._listen = listen
        self._option = option
        self._runner: web.ServerRunner | None = None
        self.address = ""

    async def start(self) -> None:
        """Raises ConfigurationError where the address cannot be had."""
        server = _BoundedServer(self._handle, access_log=None, logger=_UNHEARD)
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_S)
        await runner.setup()
        site = web.TCPSite(runner, self._listen.host, self._listen.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigurationError(
                f"nobody can listen at {self._listen}: {_why(error)}",
                hint=f"Give {self._option} an address of this machine, and a port that is free.",
            ) from None
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """No request is taken any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request."""
        raise NotImplementedError

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self.handle(request)
        except Exception:  # noqa: BLE001 - an internal error, which aiohttp would tell nobody
            _log.exception("a question was not answered", path=request.path)
            return text_response(500, "an internal error of image-syncer; see its log")


class MetricsServer(HttpServer):
    """Serves the metrics of one run."""

    def __init__(self, listen: Listen, metrics: RunMetrics) -> None:
        super().__init__(listen, "--metrics")
        self._metrics = metrics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /metrics, and nothing else."""
        if request.path != "/metrics":
            return text_response(404, "there is /metrics")
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "/metrics takes GET", {"Allow": "GET"})
        return exposition(self._metrics, request)


def _why(error: OSError) -> str:
    """In the words of the system alone: asyncio puts an address before them, which is said already."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


class _BoundedServer(web.Server):
    """Those who open connections and say nothing take no descriptors away from the runs, and no answer from who asks
    after them: the oldest connections make room.
    """

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Called for each connection, when it stands."""
        super().connection_made(handler, transport)
        for oldest in self.connections[: max(0, len(self.connections) - MOST_CONNECTIONS)]:
            if oldest.transport is not None:
                # Later, since aiohttp takes it for a mistake of its own when a connection ends before it was begun.
                asyncio.get_running_loop().call_soon(oldest.transport.abort)


def exposition(metrics: RunMetrics | None, request: web.BaseRequest) -> web.Response:
    """The answer to GET /metrics."""
    if metrics is None:
        return text_response(501, MISSING)
    body, content_type = metrics.render(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def text_response(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """One line of text."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)
