"""`look_on`: metrics and traces of the runs inside its context."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, SyncError
from image_syncer.telemetry.logs import get_logger
from image_syncer.telemetry.observing import OBSERVERS
from image_syncer.telemetry.partial_file import PartialFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer.telemetry.http_server import Listen
    from image_syncer.telemetry.metrics import RunMetrics
    from image_syncer.telemetry.traces import RunTraces


_FILE = {"noun": "the file of the metrics", "option": "--metrics-file"}

_log = get_logger(__name__)


@contextlib.contextmanager
def look_on(
    *,
    metrics: Listen | None = None,
    metrics_file: str | None = None,
    traces: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[str | None]:
    """Serve the metrics of the runs inside this context at an address, and yield its URL (None without `metrics`).

    At the end they are written to `metrics_file`, for the textfile collector of Prometheus' node exporter, which also
    sees runs that are shorter than the interval of scrapes. `traces` is the URL of an OpenTelemetry collector for spans
    of these runs; without it, OpenTelemetry's variables in `environ` name one. Raises ConfigurationError where a
    package is missing, the address cannot be used, or the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        address = None
        if metrics is not None or metrics_file is not None:
            from image_syncer.telemetry.metrics import MISSING, RunMetrics, metrics_are_there

            if not metrics_are_there():
                raise ConfigurationError(MISSING)
            counted = RunMetrics(_version())
            stack.callback(OBSERVERS.reset, OBSERVERS.set((*OBSERVERS.get(), counted)))
        if metrics_file is not None:
            PartialFile.try_out(metrics_file, **_FILE)
            stack.callback(_write, counted, metrics_file)
        if metrics is not None:
            from image_syncer.telemetry.http_server import MetricsServer, ServerThread

            server = MetricsServer(metrics, counted)
            thread = ServerThread(server, "metrics server")
            thread.start()
            stack.callback(thread.stop)
            address = f"{server.address}/metrics"
            _log.info("metrics are served", address=address)
        if (spans := _traces(traces, environ or {})) is not None:
            stack.callback(spans.close)
            stack.callback(OBSERVERS.reset, OBSERVERS.set((*OBSERVERS.get(), spans)))
        yield address


def _write(counted: RunMetrics, path: str) -> None:
    """Write the metrics; a failure does not change the outcome of the runs."""
    try:
        PartialFile.write_all(path, counted.render()[0], **_FILE)
    except SyncError as error:
        _log.warning("the metrics were not written", reason=error.message)


def _traces(url: str | None, environ: Mapping[str, str]) -> RunTraces | None:
    """Return the traces; a failure of those that only variables ask for does not prevent the run."""
    if url is None and not any(name.startswith("OTEL_") for name in environ):
        return None
    from image_syncer.telemetry.traces import endpoint_from, start_traces

    if url is not None:
        return start_traces(url, _version())
    try:
        return start_traces(by_variable, _version()) if (by_variable := endpoint_from(environ)) else None
    except ConfigurationError as error:
        _log.warning("no traces are sent", reason=error.message)
        return None


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("image-syncer")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
