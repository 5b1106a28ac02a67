"""The embedded registry: an OCI distribution 1.1 registry for tests, demos and benchmarks, not for production.

It follows the specification unless its behaviour says otherwise. It has no garbage collection, replication or audit.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from image_syncer.embedded import blobs, manifests
from image_syncer.embedded.behaviour import Behaviour, FaultKind, RetryAfter
from image_syncer.embedded.bodies import abort, read_small_body, refusal_of, stall
from image_syncer.embedded.call import Call, Refusal, Service, build_refusal_response
from image_syncer.embedded.catalogue_storage import MemoryStorage
from image_syncer.embedded.counters import Counters, Seen
from image_syncer.embedded.doubles import double_of, parse_behaviour
from image_syncer.embedded.route import TOKEN_PATH, ExtraOperation, parse_route
from image_syncer.embedded.tokens import check_access, get_token
from image_syncer.registry import Operation
from image_syncer.values import replace

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

    from image_syncer.embedded.behaviour import Fault, RateLimit
    from image_syncer.embedded.route import RequestKind
    from image_syncer.embedded.storage import Storage


_READ_BUFFER_BYTES = 512 * 1024  # per uploading connection: enough to keep reading while a batch is hashed
_HEADER_LIMIT_BYTES = 64 * 1024  # tokens and opaque Locations are long
_SHUTDOWN_S = 1.0
_CONTROL_LIMIT_BYTES = 2**20
_CLIENT_GONE = 499  # nginx's status for it; never sent

_LOGGER = logging.getLogger(__name__)


@contextmanager
def serve_in_thread(
    storage: Storage | None = None,
    behaviour: Behaviour | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    companion: bool = True,
) -> Iterator[EmbeddedRegistry]:
    """Serve a registry in a thread with its own event loop until the block ends. Without `storage`, it uses memory.

    Its `address`, `url`, `counters`, `behaviour`, `storage` and `revoke_tokens` may be used from any thread.
    """
    storage = MemoryStorage() if storage is None else storage
    registry = EmbeddedRegistry(storage, behaviour, host, port, ssl_context, companion=companion)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=asyncio.run, args=(_serve(registry, started),), daemon=True)
    thread.start()
    loop, ended = started.result()
    try:
        yield registry
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


async def _serve(registry: EmbeddedRegistry, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    ended = asyncio.Event()
    try:
        await registry.start()
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
        await registry.stop()
        started.set_exception(error)
        return
    started.set_result((asyncio.get_running_loop(), ended))
    try:
        await ended.wait()
    finally:
        await registry.stop()


async def _use_own_api(call: Call) -> web.StreamResponse:
    return await double_of(call.behaviour).answer(call)


async def _ping(call: Call) -> web.StreamResponse:  # noqa: ARG001 - a handler like the others
    return web.Response(body=b"{}", content_type="application/json")


_HANDLERS: dict[RequestKind, Callable[[Call], Awaitable[web.StreamResponse]]] = {
    Operation.PING: _ping,
    Operation.HEAD_MANIFEST: manifests.head_manifest,
    Operation.GET_MANIFEST: manifests.get_manifest,
    Operation.PUT_MANIFEST: manifests.put_manifest,
    Operation.HEAD_BLOB: blobs.head_blob,
    Operation.GET_BLOB: blobs.get_blob,
    Operation.START_UPLOAD: blobs.start_upload,
    Operation.PUT_UPLOAD: blobs.put_upload,
    Operation.GET_UPLOAD: blobs.get_upload,
    Operation.CANCEL_UPLOAD: blobs.cancel_upload,
    Operation.LIST_TAGS: manifests.list_tags,
    Operation.LIST_CATALOG: manifests.list_catalog,
    Operation.GET_TOKEN: get_token,
    ExtraOperation.PATCH_UPLOAD: blobs.patch_upload,
    ExtraOperation.DELETE_MANIFEST: manifests.delete_manifest,
    ExtraOperation.DELETE_BLOB: blobs.delete_blob,
    ExtraOperation.LIST_REFERRERS: manifests.list_referrers,
    ExtraOperation.GET_REDIRECTED_BLOB: blobs.get_redirected_blob,
    ExtraOperation.OWN_API: _use_own_api,
}
_WITHOUT_CHECK = frozenset({Operation.GET_TOKEN, ExtraOperation.OWN_API})
"""These check access themselves."""
_ON_COMPANION = frozenset(
    {
        ExtraOperation.OWN_API,
        Operation.GET_TOKEN,
        Operation.PUT_UPLOAD,
        Operation.GET_UPLOAD,
        ExtraOperation.PATCH_UPLOAD,
        ExtraOperation.GET_REDIRECTED_BLOB,
    }
)
_STREAMS_IN = frozenset({Operation.PUT_UPLOAD, ExtraOperation.PATCH_UPLOAD})
_STREAMS_OUT = frozenset({Operation.GET_BLOB, ExtraOperation.GET_REDIRECTED_BLOB})


class EmbeddedRegistry:
    """One registry on one address, and on a second one (`companion`) for redirects, uploads and tokens of other hosts.

    `port` 0 takes a free one. With `control`, `GET /_counters` returns the counters and `PUT /_behaviour` changes the
    behaviour, for the parent process. With `listener`, a listening Unix socket, it has no other address. Belongs to the
    event loop that runs `start`. Raises ValueError for a behaviour with an unknown double.
    """

    def __init__(  # noqa: PLR0913 - public signature
        self,
        storage: Storage,
        behaviour: Behaviour | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        *,
        companion: bool = False,
        control: bool = False,
        listener: socket.socket | None = None,
    ) -> None:
        behaviour = behaviour or Behaviour()
        double_of(behaviour)  # raises ValueError for an unknown name
        self.storage = storage
        self.counters = Counters()
        self._service = Service(storage, self.counters, behaviour)
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._companion = companion or self.behaviour.needs_companion
        self._control = control
        self._listener = listener
        self._runners: list[web.ServerRunner] = []
        self.address = ""
        """Host and port, "127.0.0.1:5000", or the path of the Unix socket; empty before `start`."""
        self.companion_address = ""
        """Host and port of the second address; empty without one."""

    @property
    def behaviour(self) -> Behaviour:
        """The current behaviour; may be replaced at any time from any thread."""
        return self._service.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        double_of(behaviour)
        self._service.set_behaviour(behaviour)

    @property
    def url(self) -> str:
        """Scheme and address, without a slash at the end."""
        return f"{self._scheme}://{self.address}"

    @property
    def _scheme(self) -> str:
        return "http" if self._ssl_context is None else "https"

    def revoke_tokens(self) -> None:
        """Invalidate all issued tokens, as if they had expired."""
        self._service.tokens.revoke_all()

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be bound."""
        self.address = await self._listen(self._port, on_companion=False)
        if self._companion:
            self.companion_address = await self._listen(0, on_companion=True)
            self._service.companion_url = f"{self._scheme}://{self.companion_address}"

    async def stop(self) -> None:
        """Close the addresses and every connection."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _listen(self, port: int, *, on_companion: bool) -> str:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await self._handle(request, on_companion=on_companion)
            except ConnectionError:
                # For other exceptions aiohttp logs a traceback and tries to answer 500.
                if request.transport is not None:
                    request.transport.close()
                return web.Response(status=_CLIENT_GONE)

        server = _Server(
            handle,
            access_log=None,
            logger=_LOGGER,
            auto_decompress=False,  # a digest covers the bytes as sent
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_HEADER_LIMIT_BYTES,
            max_field_size=_HEADER_LIMIT_BYTES,
        )
        server.counters = self.counters
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        if self._listener is not None and not on_companion:
            await web.SockSite(runner, self._listener).start()
            return str(self._listener.getsockname())
        site = web.TCPSite(runner, self._host, port, ssl_context=self._ssl_context)
        await site.start()
        host, bound_port = runner.addresses[0][:2]
        return f"[{host}]:{bound_port}" if ":" in host else f"{host}:{bound_port}"

    async def _handle(self, request: web.BaseRequest, *, on_companion: bool) -> web.StreamResponse:
        if self._control and request.path.startswith("/_") and not on_companion:
            return await self._handle_control(request)
        bearer = self.behaviour.bearer
        token_path = bearer.path if bearer is not None else TOKEN_PATH
        route = parse_route(request.method, request.path, token_path, self.behaviour.upload_prefix)
        if route.kind is ExtraOperation.OTHER and double_of(self.behaviour).owns(request):
            route = replace(route, kind=ExtraOperation.OWN_API)
        call = Call(self._service, request, route, self.behaviour, on_companion)
        status = 0
        self.counters.begin(route.kind)
        try:
            response = await _answer(call)
            if call.stream_fault(FaultKind.LOST_ANSWER):
                raise abort(request)
            status = response.status
            if not response.prepared:
                response.headers.update(double_of(call.behaviour).headers)
            return response
        finally:
            seen = Seen(route.kind.value, request.method, route.repository, route.reference, status)
            self.counters.end(seen)

    async def _handle_control(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == "/_counters":
            data = orjson.dumps(self.counters.values().as_data())
            return web.Response(body=data, content_type="application/json")
        if request.method == "PUT" and request.path == "/_behaviour":
            call = Call(self._service, request, parse_route("PUT", request.path), self.behaviour)
            try:
                self.behaviour = parse_behaviour(orjson.loads(await read_small_body(call, _CONTROL_LIMIT_BYTES)))
            except ValueError as error:
                return web.Response(status=400, text=str(error))
            return web.Response(status=204)
        return web.Response(status=404)


class _Server(web.Server):
    """An aiohttp server that counts its connections."""

    counters: Counters

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self.counters.add_connection()
        super().connection_made(handler, transport)


async def _answer(call: Call) -> web.StreamResponse:
    try:
        if call.behaviour.latency_s:
            await asyncio.sleep(call.behaviour.latency_s)
        return await _answer_or_refuse(call)
    except Refusal as refusal:
        if refusal.quirk:
            call.meet(refusal.quirk)
        return build_refusal_response(double_of(call.behaviour).rephrase(call, refusal))
    except ConnectionError:
        raise
    except OSError as error:  # of the storage
        return build_refusal_response(refusal_of(call, error))


async def _answer_or_refuse(call: Call) -> web.StreamResponse:
    kind = call.route.kind
    handler = _HANDLERS.get(kind)
    if handler is None:
        raise Refusal(404, "UNSUPPORTED", "there is nothing here")
    if call.on_companion:
        if kind is not Operation.GET_TOKEN and "Authorization" in call.request.headers:
            call.counters.add_authorization_on_companion()
        if kind not in _ON_COMPANION:
            raise Refusal(404, "UNSUPPORTED", "the companion does not serve this")
    elif kind not in _WITHOUT_CHECK:
        check_access(call)
    if call.repository and not call.storage.is_name(call.repository):
        raise Refusal(400, "NAME_INVALID", "invalid repository name")
    limit = call.service.mischief.refusing_limit(kind.value, time.monotonic())
    if limit is not None:
        call.meet("too many requests")
        return _build_limit_response(limit)
    call.fault = call.service.mischief.take_fault(kind.value, call.request.raw_path)
    if call.fault is not None:
        struck = await _strike(call, call.fault)
        if struck is not None:
            return struck
    double = double_of(call.behaviour)
    double.check(call)
    response = await handler(call)
    double.change(call, response)
    return response


async def _strike(call: Call, fault: Fault) -> web.StreamResponse | None:
    """Apply a fault before the handler runs; None if it applies to the stream or the answer."""
    kind = call.route.kind
    if fault.kind is FaultKind.STATUS:
        if fault.body is None:
            refusal = Refusal(fault.status, "UNKNOWN", "failed on purpose", headers=dict(fault.headers).items())
            return build_refusal_response(refusal)
        return web.Response(
            status=fault.status,
            headers=dict(fault.headers),
            body=fault.body.encode(),
            content_type=fault.content_type,
        )
    if fault.kind is FaultKind.RESET and kind not in _STREAMS_IN | _STREAMS_OUT:
        raise abort(call.request)
    if fault.kind is FaultKind.STALL and kind not in _STREAMS_OUT:
        raise await stall(call.request)
    return None


def _build_limit_response(limit: RateLimit) -> web.Response:
    if limit.body is None:
        response = build_refusal_response(Refusal(429, "TOOMANYREQUESTS", "too many requests"))
    else:
        content_type = "application/json" if limit.body.startswith("{") else "text/html"
        response = web.Response(status=429, text=limit.body, content_type=content_type)
    if limit.retry_after is RetryAfter.SECONDS:
        response.headers["Retry-After"] = str(limit.retry_after_s)
    elif limit.retry_after is RetryAfter.DATE:
        response.headers["Retry-After"] = formatdate(time.time() + limit.retry_after_s, usegmt=True)
    return response
