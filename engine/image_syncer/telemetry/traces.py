"""Traces of runs for OpenTelemetry: a span for each run, each image and destination, and each transfer of a blob.

Spans are made when their subject has ended, since only then its begin is known. A blob of several images is below one
of them. Spans go into a bounded queue, from which a thread sends them (OTLP over HTTP); where it is full, or the
collector takes nothing, spans are lost, and the run is not slower. It needs opentelemetry-sdk and its exporter (the
extra `tracing`), which nothing else loads.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from image_syncer.errors import ConfigurationError
from image_syncer.redaction import keep_out, redact
from image_syncer.telemetry.logs import get_logger
from image_syncer.telemetry.observing import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span, Tracer

    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report, TransferRecord


MISSING = "traces need OpenTelemetry: pip install 'image-syncer[tracing]'"
"""The error where it is not installed."""
MOST_WAITING = 10_000
"""Transfers that wait for the end of their images; further ones are below the run."""
MOST_ENDED = 1_000
"""Ended images that are kept for transfers that end after them."""
MOST_QUEUED = 8_192
EXPORT_S = 5.0
"""The time of one batch, with all its tries."""
END_S = 3.0
"""The time for the rest of the queue at the end."""
_PATH = "/v1/traces"
_NS = 1_000_000_000
_COUNTS = ("bytes_moved", "blobs_moved", "blobs_mounted", "blobs_present", "tries")
"""The fields of an image's result that are attributes of its span."""

_log = get_logger(__name__)


def endpoint_from(environ: Mapping[str, str]) -> str | None:
    """Return the endpoint that OpenTelemetry's standard variables name; None without one."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    if whole := environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return whole
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return base.rstrip("/") + _PATH if base else None


def start_traces(url: str, version: str) -> RunTraces:
    """Return traces that are sent to `url`. Raises ConfigurationError for another text, or without OpenTelemetry."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{url!r} is no address of a collector of traces",
            hint="Give --trace-endpoint a URL such as http://127.0.0.1:4318 (OTLP over HTTP).",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigurationError(MISSING) from None
    # `_ReportingExporter` reports a collector that takes nothing, once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    # The errors of requests have the value of a header field that it cannot send.
    keep_out(*_header_secrets(os.environ), parts.password)
    endpoint = url if parts.path.strip("/") else url.rstrip("/") + _PATH
    try:
        exporter = _ReportingExporter(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S), endpoint)
        return RunTraces(cast("SpanExporter", exporter), version, on_left=exporter.leave)
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"traces cannot be sent as the variables OTEL_… want it: {error}",
            hint="Mend these variables, or unset them.",
        ) from None


def _header_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Return the values of the header fields for the collector, in all spellings that an error may have.

    They are URL-encoded `name=value` with commas between them (OpenTelemetry specification, "OpenTelemetry Protocol
    Exporter", "Specifying headers via environment variables").
    """
    for variable in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        for field in environ.get(variable, "").split(","):
            value = field.partition("=")[2].strip()
            for text in (value, unquote(value).strip()):
                yield text
                yield text.rpartition(" ")[2]  # without "Bearer"


class RunTraces(Observer):
    """Makes spans of runs, which a thread gives to `exporter`.

    `clock_ns` returns the time of the epoch; `on_left` is called where some spans were not taken in time at the end.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        version: str,
        clock_ns: Callable[[], int] = time.time_ns,
        on_left: Callable[[], None] = lambda: None,
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "image-syncer"}
        resource = Resource.create({**named, "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=MOST_QUEUED, schedule_delay_millis=1000)
        )
        self._tracer = self._provider.get_tracer("image_syncer", version)
        self._clock_ns = clock_ns
        self._on_left = on_left

    def of_run(self) -> Observer:
        """Return the observer of one run; several may run at a time."""
        return _TracedRun(self._tracer, self._clock_ns)

    def close(self) -> None:
        """Send the rest of the queue, for `END_S` at most."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces end", daemon=True)
        ending.start()
        ending.join(END_S)
        if ending.is_alive():
            self._on_left()


class _TracedRun(Observer):
    """Makes the spans of one run."""

    def __init__(self, tracer: Tracer, clock_ns: Callable[[], int]) -> None:
        self._tracer = tracer
        self._clock_ns = clock_ns
        self._run: Span | None = None
        self._began_ns = 0
        self._waiting: defaultdict[tuple[str, str], list[TransferRecord]] = defaultdict(list)
        self._waiting_count = 0
        self._ended: OrderedDict[tuple[str, str], Context] = OrderedDict()

    def on_begin(self, kind: str, began_at: float) -> None:
        self._began_ns = int(began_at * _NS)
        self._run = self._tracer.start_span(kind, start_time=self._began_ns)

    def on_transfer(self, record: TransferRecord, images: frozenset[tuple[str, str]]) -> None:
        ended = next((self._ended[image] for image in sorted(images) if image in self._ended), None)
        if ended is not None:
            self._tell_transfer(record, ended)
        elif images and self._waiting_count < MOST_WAITING:
            self._waiting[min(images)].append(record)
            self._waiting_count += 1
        else:
            self._tell_transfer(record, self._below_run())

    def on_image(self, result: ImageResult) -> None:
        from opentelemetry.trace import set_span_in_context

        now = self._clock_ns()
        name = result.source, result.destination
        attributes: dict[str, Any] = {
            "image_syncer.source": result.source,
            "image_syncer.source.registry": _registry(result.source),
            "image_syncer.destination": result.destination,
            "image_syncer.destination.registry": _registry(result.destination),
            "image_syncer.outcome": result.outcome.value,
            "image_syncer.digest": result.destination_digest or result.source_digest,
            **{f"image_syncer.{name}": getattr(result, name) for name in _COUNTS},
            "image_syncer.reason": None if result.reason is None else redact(result.reason),
            # Names of OpenTelemetry's semantic conventions.
            "oci.manifest.digest": result.destination_digest or result.source_digest,
        }
        if result.outcome.is_failure:
            error = result.error or {}
            attributes["error.type"] = str(error.get("kind", "_OTHER"))
            attributes["http.response.status_code"] = error.get("status")
        span = self._tracer.start_span(
            "image",
            context=self._below_run(),
            start_time=now - int(result.seconds * _NS),
            attributes={key: value for key, value in attributes.items() if value is not None},
        )
        if result.outcome.is_failure:
            _mark_failed(span, attributes["image_syncer.reason"])
        below = set_span_in_context(span)
        records = self._waiting.pop(name, ())
        self._waiting_count -= len(records)
        for record in records:
            self._tell_transfer(record, below)
        span.end(now)
        self._ended[name] = below
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    def on_report(self, report: Report) -> None:
        if self._run is not None:
            self._run.set_attribute("image_syncer.images", report.totals.images)
            self._run.set_attribute("image_syncer.exit_code", report.exit_code)
        self._end(redact(report.summary_line()) if report.exit_code else None)

    def on_abandoned(self) -> None:
        self._end("it could not begin, or was cancelled")

    def _end(self, failure: str | None) -> None:
        for records in self._waiting.values():
            for record in records:
                self._tell_transfer(record, self._below_run())
        self._waiting.clear()
        self._waiting_count = 0
        self._ended.clear()
        if self._run is not None:
            if failure is not None:
                _mark_failed(self._run, failure)
            self._run.end(self._clock_ns())
            self._run = None

    def _below_run(self) -> Context | None:
        from opentelemetry.trace import set_span_in_context

        return None if self._run is None else set_span_in_context(self._run)

    def _tell_transfer(self, record: TransferRecord, below: Context | None) -> None:
        span = self._tracer.start_span(
            "blob",
            context=below,
            start_time=self._began_ns + int(record.began_s * _NS),
            attributes={
                "image_syncer.digest": record.digest,
                "image_syncer.size_bytes": record.size_bytes,
                "image_syncer.source": record.source,
                "image_syncer.source.registry": _registry(record.source),
                "image_syncer.destinations": record.destinations,
                "image_syncer.destination.registries": sorted({_registry(name) for name in record.destinations}),
                "image_syncer.outcome": record.outcome,
                "image_syncer.bytes_moved": record.bytes_moved,
                "image_syncer.worker": record.worker,
                "image_syncer.source_waited_s": record.source_waited_s,
                "image_syncer.destination_waited_s": record.destination_waited_s,
                "image_syncer.resumes": record.source_resumes + record.destination_resumes,
                "image_syncer.pauses": record.pauses,
            },
        )
        if record.outcome == "failed":
            span.set_attribute("error.type", "_OTHER")  # the image has the reason
            _mark_failed(span)
        span.end(self._began_ns + int(record.ended_s * _NS))


class _ReportingExporter:
    """An exporter that reports once that the collector does not take its spans."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, spans are lost and the run continues
            result, reason = SpanExportResult.FAILURE, str(error)
        else:
            reason = "the collector does not take them, or does not answer"
        if result is not SpanExportResult.SUCCESS:
            self._tell(reason)
        return result

    def leave(self) -> None:
        """Report that spans were left in the queue at the end."""
        self._tell(f"the collector did not take what was left within {END_S:g} s")

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            _log.warning("traces are lost", endpoint=self._endpoint, reason=reason)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _mark_failed(span: Span, reason: str | None = None) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, reason))


def _registry(name: str) -> str:
    """Return the registry of a repository or reference."""
    return name.partition("/")[0]
