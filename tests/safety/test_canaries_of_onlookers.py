"""The same secrets, looked for in what those see who look on at a run or look at it afterwards: metrics, traces, the
control socket, `top`, plans, estimates, reports in all their forms, bundles, and what a watch answers and posts.
"""

from __future__ import annotations

import http.server
import json
import re
import socket
import stat
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from safety.test_canaries import Nest, nest  # noqa: F401 - a fixture
from support.canaries import Canaries
from support.processes import wait_until, workers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVED = re.compile(r"http://127\.0\.0\.1:[0-9]+")


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes whatever is posted, and keeps it."""

    bodies: ClassVar[list[bytes]] = []
    fields: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.fields.append(str(self.headers))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def collector() -> Iterator[tuple[str, type[Collector]]]:
    """Its address, and what it was given."""
    kept = type("Kept", (Collector,), {"bodies": [], "fields": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kept)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        server.server_close()


def told_by(held: Nest, process: subprocess.Popen[bytes]) -> dict[str, bytes]:
    """What a run tells that is under way, on every way there is."""
    wait_until(lambda: b"metrics for" in (held.directory / "err").read_bytes(), "the address of the metrics")
    found = SERVED.search((held.directory / "err").read_text())
    assert found is not None
    told: dict[str, bytes] = {}

    def has_requests() -> bool:
        with urllib.request.urlopen(f"{found[0]}/metrics", timeout=30) as answer:
            told["metrics"] = answer.read()
        return b"get_token" in told["metrics"]

    wait_until(has_requests, "metrics of the requests for tokens")
    with urllib.request.urlopen(
        urllib.request.Request(f"{found[0]}/metrics", headers={"Accept": "application/openmetrics-text"}), timeout=30
    ) as answer:
        told["openmetrics"] = answer.read()
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(60)
        control.connect(str(held.directory / "run.sock"))
        for command in ("status", "errors", "nonsense", "snapshots"):
            control.sendall(json.dumps({"command": command}).encode() + b"\n")
            told[command] = control.recv(2**20)
        told["a snapshot"] = control.recv(2**20)
    known = Canaries({name: it for name, it in held.canaries.items() if name not in ("environment", "otel")})
    for pid in (process.pid, *(worker.pid for worker in workers_of(process.pid))):
        told[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert known.found_in({"environment": Path(f"/proc/{pid}/environ").read_bytes()}) == []
    return told


@pytest.mark.extended
def test_who_looks_on_at_a_run_sees_no_secret(nest: Nest) -> None:  # noqa: F811 - the fixture
    """A run that stalls, and then fails: metrics, traces, the control socket, `top`, and all forms of its report."""
    nest.source.mode = "stall"
    with collector() as (endpoint, kept):
        nest.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={nest.canaries['otel']}",
        }
        files = ["--report-junit", "run.xml", "--report-markdown", "run.md", "--output-success-images", "ok.yaml"]
        words = ["sync", *nest.sync_words("--metrics", 0, "--control", "run.sock", "--no-progress", *files)]
        process = nest.start(*words, err=nest.directory / "err")
        try:
            assert nest.source.stalled.wait(60)
            told = told_by(nest, process)
            assert stat.S_IMODE((nest.directory / "run.sock").stat().st_mode) == 0o600
            nest.source.mode = "storage refuses"
            nest.source.over.set()
            out, _ = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 1
    assert kept.bodies
    assert all(nest.canaries["otel"] in fields for fields in kept.fields)
    traces = {f"trace {number}": body for number, body in enumerate(kept.bodies)}
    nest.search(out=out, **told, **traces)
    pages = ["--html", "page.html", "--junit", "again.xml", "--markdown", "again.md"]
    assert nest.run("report", "report1.json", *pages)[0] == 0


@pytest.mark.slow
def test_what_is_planned_estimated_and_drawn_has_no_secret(nest: Nest) -> None:  # noqa: F811 - the fixture
    nest.destination.mode = "empty"
    files = ["--auth", "auth.yaml", "--images", "images.yaml"]
    assert nest.run("plan", *files, "--save", "plan.json", "--debug")[0] == 0
    assert nest.run("plan", *files, "--explain", f"{nest.source.address}/team/app:v1")[0] in (0, 1)
    path = [f"{place.address}/team/app" for place in (nest.source, nest.destination)]
    nest.run(
        "bench", "--auth", "auth.yaml", "--src", path[0], "--dst", path[1], "--budget", "4MB", "--save", "path.json"
    )
    assert (nest.directory / "path.json").exists()
    for more in (("--json", "--plot", "estimate.png"), ()):
        nest.run("estimate", "--plan", "plan.json", "--bench", "path.json", *more)
    planned = ["--auth", "auth.yaml", "--plan", "plan.json", "--retries", 0, "--workers", 1, "--debug"]
    assert nest.run("sync", *planned, "--report", "report0.json", "--log", "run0.log")[0] == 0
    assert nest.run("sync", *nest.sync_words())[0] == 0
    nest.source.mode = "403"
    assert nest.run("sync", *nest.sync_words())[0] in (0, 1)
    reports = sorted(path.name for path in nest.directory.glob("report*.json"))[:2]
    assert nest.run("report", *reports, "--html", "both.html")[0] == 0
    for name in ("throughput", "workers"):
        nest.run("report", reports[0], "--plot", name, f"{name}.png")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fine", "storage refuses", "403", "cut"])
def test_bundles_have_no_secret(nest: Nest, mode: str) -> None:  # noqa: F811 - the fixture
    nest.source.mode = mode
    files = ["--auth", "auth.yaml", "--images", "images.yaml", "--retries", 0]
    code, _ = nest.run("export", "bundle", *files, "--debug", "--report", "export.json", "--log", "export.log")
    assert code == (0 if mode == "fine" else 1)
    if mode == "fine":
        nest.destination.mode = "upload refused"
        nest.run("import", "bundle", *files, "--debug", "--report", "import.json", "--log", "import.log")


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 500])
def test_a_watch_has_no_secret_for_who_asks_it(nest: Nest, status: int) -> None:  # noqa: F811 - the fixture
    """Its answers, and what webhooks get, whose addresses are secret; they refuse, and tell them back."""
    nest.source.mode = "storage refuses"
    secret = nest.canaries["webhook"]
    nest.plant("events", nest.canaries["events"])

    class Hook(Collector):
        bodies: ClassVar[list[bytes]] = []

        def do_POST(self) -> None:
            self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            told = f"no such hook as {self.path} {self.headers}".encode()
            self.send_response(status, self.path)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hook = f"http://u:{secret}@127.0.0.1:{server.server_port}/services/{secret}?key={secret}"
    nest.plant("hooks", f"{hook}\nX-Key: {nest.canaries['hookfield']}\n")
    files = ["--auth", "auth.yaml", "--images", "images.yaml", "--retries", "0", "--log", "watch.log", "--debug"]
    more = ["--listen", "127.0.0.1:0", "--events-token-file", "events", "--every", "1h", "--notify-file", "hooks"]
    process = nest.start("watch", *files, *more, err=nest.directory / "err")
    try:
        wait_until(lambda: bool(Hook.bodies) or process.poll() is not None, "a summary", patience_s=90)
        err = (nest.directory / "err").read_text()
        assert process.poll() is None, err
        found = SERVED.search(err[err.index("listening at") :])
        assert found is not None
        told = {f"hook {number}": body for number, body in enumerate(Hook.bodies)}
        for path in ("healthz", "readyz", "metrics", "nothing"):
            request = urllib.request.Request(f"{found[0]}/{path}")
            request.add_header("Authorization", f"Bearer {nest.canaries['events']}")
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    told[path] = answer.read()
            except urllib.error.HTTPError as refused:
                told[path] = refused.read()
        process.terminate()
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        server.shutdown()
        server.server_close()
    assert json.loads(told["healthz"])
    nest.search(out=out, **told)
