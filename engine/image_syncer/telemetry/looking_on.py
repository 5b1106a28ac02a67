"""`look_on`: metrics and traces of whatever runs inside it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry.logs import get_logger
from image_syncer.telemetry.observing import OBSERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.telemetry.listening import Listen

__all__ = ["look_on"]

_log = get_logger(__name__)


@contextlib.contextmanager
def look_on(*, metrics: Listen | None = None, version: str = "") -> Iterator[str | None]:
    """Serve metrics at an address for as long as this lasts: those of the runs that are made inside. Given is where, as
    the address of a web server, or None.

    Raises ConfigurationError where prometheus-client is missing, or the address cannot be had.
    """
    with contextlib.ExitStack() as stack:
        address = None
        if metrics is not None:
            from image_syncer.telemetry.http_server import MetricsServer
            from image_syncer.telemetry.metrics import MISSING, RunMetrics, metrics_are_there
            from image_syncer.telemetry.server_thread import ServerThread

            if not metrics_are_there():
                raise ConfigurationError(MISSING)
            counted = RunMetrics(version)
            server = MetricsServer(metrics, counted)
            thread = ServerThread(server, "metrics server")
            thread.start()
            stack.callback(thread.stop)
            address = f"{server.address}/metrics"
            _log.info("metrics are served", address=address)
            stack.callback(OBSERVERS.reset, OBSERVERS.set((*OBSERVERS.get(), counted)))
        yield address
