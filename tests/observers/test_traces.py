"""Traces: a span for each image, below it one for each blob; what becomes of them is nothing to the run."""

from __future__ import annotations

import http.server
import io
import socket
import threading
import time
from typing import TYPE_CHECKING, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from image_syncer.errors import ConfigurationError, redact
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals, configure_logging
from image_syncer.telemetry import traces as traces_module
from image_syncer.telemetry.looking_on import look_on
from image_syncer.telemetry.observing import OBSERVERS
from image_syncer.telemetry.traces import RunTraces, endpoint_from
from support.sync_runs import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from support.sync_runs import SyncLab


@pytest.fixture
def collected() -> Iterator[Spans]:
    """The spans of the runs of a test."""
    exporter = InMemorySpanExporter()
    traces = RunTraces(exporter, "1.2.3")
    token = OBSERVERS.set((traces,))
    yield Spans(traces, exporter)
    OBSERVERS.reset(token)
    traces.close()


class Spans:
    def __init__(self, traces: RunTraces, exporter: InMemorySpanExporter) -> None:
        self.traces = traces
        self._flush, self._exporter = traces._provider.force_flush, exporter

    def named(self, name: str) -> list[ReadableSpan]:
        self._flush()
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


def attributes(span: ReadableSpan) -> dict[str, object]:
    return {key.removeprefix("image_syncer."): value for key, value in (span.attributes or {}).items()}


def test_a_span_for_the_run_each_image_and_each_blob_below_it(lab: SyncLab, collected: Spans) -> None:
    images = {f"team/app{number}": lab.image(layers=2, repository=f"team/app{number}") for number in range(2)}
    lab.log_in(lab.source)
    lab.run()
    [run] = collected.named("sync")
    assert run.resource.attributes["service.name"] == "image-syncer"
    assert attributes(run) == {"images": 2, "exit_code": 0}
    spans = {str(attributes(span)["source"]): span for span in collected.named("image")}
    assert len(spans) == 2
    blobs = collected.named("blob")
    assert len(blobs) == 6
    for repository, image in images.items():
        span = spans[f"{lab.source.address}/{repository}:v1"]
        assert span.parent is not None
        assert span.parent.span_id == run.context.span_id
        told = attributes(span)
        assert told["outcome"] == "copied"
        assert told["digest"] == str(image.digest)
        assert told["destination.registry"] == lab.destination.address
        below = [blob for blob in blobs if blob.parent is not None and blob.parent.span_id == span.context.span_id]
        assert {attributes(blob)["digest"] for blob in below} == {str(blob.digest) for blob in image.all_blobs()}
        assert told["bytes_moved"] == sum(attributes(blob)["bytes_moved"] for blob in below)
        for blob in below:
            assert attributes(blob)["source.registry"] == lab.source.address
            assert run.start_time <= blob.start_time <= blob.end_time <= run.end_time + 10**8
    assert PASSWORD not in "".join(span.to_json() for span in (run, *spans.values(), *blobs))


def test_what_failed_is_an_error(lab: SyncLab, collected: Spans) -> None:
    lab.image()
    lab.run(lab.rule(tags=("gone",)), exit_code=1)
    [span] = collected.named("image")
    assert attributes(span)["outcome"] == "failed"
    assert span.status.status_code.name == "ERROR"
    assert attributes(span)["error.type"] == "not found"
    assert attributes(span)["http.response.status_code"] == 404
    assert attributes(collected.named("sync")[0])["exit_code"] == 1


def test_runs_at_the_same_time_have_spans_of_their_own(collected: Spans) -> None:
    """As a program around the engine has them."""
    one, other = (collected.traces.of_run() for _ in range(2))
    one.on_begin("sync", 1000.0)
    other.on_begin("verify", 1001.0)
    one.on_image(ImageResult("s.example/a:1", "d.example/a:1", Outcome.COPIED))
    other.on_image(ImageResult("s.example/b:1", "d.example/b:1", Outcome.EQUAL))
    one.on_abandoned()
    other.on_report(Report({}, Totals(), "2026-01-01T00:00:00+00:00", 1.0, kind="verify"))
    [sync], [verify] = collected.named("sync"), collected.named("verify")
    parents = {attributes(span)["source"]: span.parent for span in collected.named("image")}
    assert parents == {"s.example/a:1": sync.context, "s.example/b:1": verify.context}
    assert (sync.status.status_code.name, verify.status.status_code.name) == ("ERROR", "UNSET")


class Receiver(http.server.BaseHTTPRequestHandler):
    spans: ClassVar[list[str]] = []
    paths: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(self.decoded(body))
        self.paths.add(self.path)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(span.name for span in scope.spans)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def decoded(self, body: bytes) -> bytes:
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            return gzip.decompress(body)
        return body

    def log_message(self, *_args: object) -> None:
        pass


def test_a_collector_gets_them_by_otlp_over_http(lab: SyncLab) -> None:
    lab.image(layers=2)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        with look_on(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}):
            lab.run()
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(Receiver.spans) == ["blob", "blob", "blob", "image", "sync"]
    assert Receiver.paths == {"/v1/traces"}


@pytest.mark.parametrize("answers", [False, None])
def test_a_collector_that_is_gone_or_silent_costs_the_run_nothing(
    lab: SyncLab, answers: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """False: nobody listens there; None: somebody does, and says nothing."""
    monkeypatch.setattr(traces_module, "END_S", 0.5)
    lab.image()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if answers is False:
            silent.close()
        with look_on(traces=f"http://127.0.0.1:{port}"):
            done = lab.run()
            ended = time.monotonic()
            log = io.StringIO()
            configure_logging(log_format="json", stream=log)
        assert time.monotonic() - ended < traces_module.EXPORT_S
    assert done.outcomes == ["copied"]
    assert log.getvalue().count("traces are lost") == 1


def test_an_address_that_is_none_ends_it_before_anything_is_done() -> None:
    with pytest.raises(ConfigurationError, match="no address of a collector") as told, look_on(traces="localhost:4318"):
        pytest.fail("it was begun")
    assert told.value.exit_code == 2


def test_the_standard_variables_say_where() -> None:
    base = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c.example:4318/"}
    assert endpoint_from(base) == "http://c.example:4318/v1/traces"
    assert endpoint_from({**base, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t.example/x"}) == "http://t.example/x"
    assert endpoint_from({**base, "OTEL_SDK_DISABLED": "true"}) is None
    assert endpoint_from({**base, "OTEL_TRACES_EXPORTER": "none"}) is None
    assert endpoint_from({}) is None


SECRET = "Zk7wQ9xN2vR5tB8y-otel"


@pytest.mark.parametrize("headers", ["x-key={0}%0A", "a=b,authorization=Bearer%20{0}"])
def test_header_fields_of_the_variables_are_secret(headers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot send them tells them back (requests does)."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers.format(SECRET))
    with look_on(traces="http://127.0.0.1:1"):
        assert redact(f"no such field as {SECRET}") == "no such field as …"


def test_variables_that_are_wrong_end_it_where_the_option_asks_for_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10000")
    log = io.StringIO()
    configure_logging(log_format="json", stream=log)
    with pytest.raises(ConfigurationError, match="OTEL_"), look_on(traces="http://127.0.0.1:1"):
        pytest.fail("it was begun")
    with look_on(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}):
        assert OBSERVERS.get() == ()
    assert "no traces are sent" in log.getvalue()
