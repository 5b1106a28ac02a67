"""docs/deploy/grafana-dashboard.json, docs/metrics.md and what is exported name the same metrics; every query is one
that Prometheus answers.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from image_syncer.telemetry.http_server import Listen
from image_syncer.telemetry.looking_on import look_on
from image_syncer.telemetry.metrics import RunMetrics
from image_syncer.watch.server import WatchStatus
from image_syncer.watch.watcher import WatchCollector
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.sync_runs import SyncLab

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
NAME = re.compile(r"\bimage_syncer_\w+")
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*", "$instance": ".*"}
WATCH_COUNTS = {name: (label, {"x": 1}) for name, label in (("rounds", "cause"), ("notifications", "result"))}


def queries() -> Iterator[str]:
    """Every expression of every panel, as Prometheus gets it."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield text


def exported() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of everything that a watch exports, by name; labels of what has no series yet are not known."""
    metrics = RunMetrics("1")
    counts = {**WATCH_COUNTS, "webhooks": ("result", {"x": 1})}
    metrics.registry.register(WatchCollector(WatchStatus(0.0), lambda: counts))
    found = {}
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        name = f"{family.name}_total" if family.type == "counter" else family.name
        name = f"{name}_info" if family.type == "info" else name
        if not name.endswith("_created"):  # of the client, in its old form
            found[name] = (
                family.type,
                frozenset(label for sample in samples for label in sample.labels if label != "le"),
            )
    return found


def series_of(name: str) -> set[str]:
    return {name, *(f"{name}_{part}" for part in ("bucket", "sum", "count"))}


def test_every_query_names_a_metric_that_there_is() -> None:
    there = {name for metric in exported() for name in series_of(metric)}
    texts = list(queries())
    assert len(texts) > 25
    for text in texts:
        assert NAME.findall(text), text
        assert set(NAME.findall(text)) <= there, text


def test_no_variable_of_grafana_is_left_that_the_dashboard_does_not_have() -> None:
    own = {f"${each['name']}" for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\w+", "".join(t["expr"] for p in DASHBOARD["panels"] for t in p.get("targets", ()))))
    assert used <= own | {"$__rate_interval", "$__range"}
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)


def test_the_page_has_every_metric_with_its_type_and_labels() -> None:
    rows = re.findall(r"^\| `(image_syncer_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    on_page = {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in rows}
    there = exported()
    assert on_page.keys() == there.keys()
    for name, (kind, labels) in there.items():
        assert on_page[name][0] == kind, name
        assert labels <= on_page[name][1], name


def test_the_page_asks_for_what_there_is() -> None:
    there = {name for metric in exported() for name in series_of(metric)}
    assert set(NAME.findall(PAGE)) <= there


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there (Debian: prometheus)")
def test_every_query_parses(tmp_path: Path) -> None:
    examples = PAGE.rpartition("## Questions")[2].split("```")[1].strip().splitlines()
    rules = [{"record": f"test:{number}", "expr": text} for number, text in enumerate([*queries(), *examples])]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus server is there (Debian: prometheus)")
def test_a_prometheus_server_scrapes_a_run_and_answers_every_query(lab: SyncLab, tmp_path: Path) -> None:
    image = lab.image(layers=3)
    with look_on(metrics=Listen("127.0.0.1", 0)) as address:
        assert address is not None
        lab.run()
        with prometheus(tmp_path, urllib.parse.urlsplit(address).netloc) as ask:
            moved = f'image_syncer_moved_bytes_total{{side="destination",registry="{lab.destination.address}"}}'
            wait_until(lambda: ask(moved), "the first scrape")
            [series] = ask(moved)
            assert int(series["value"][1]) == sum(blob.size for blob in image.all_blobs())
            for text in queries():
                ask(text)  # raises where it is refused


@contextlib.contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """A server that scrapes `target` once a second, and nothing else; given is what asks it a query, and raises
    HTTPError where it does not take that.
    """
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "image-syncer", "static_configs": [{"targets": [target]}]}],
    }
    file, log = directory / "prometheus.json", directory / "prometheus.log"
    file.write_text(json.dumps(configuration))
    # It does not say which port it took where it is told to take any.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = (
        *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    )

    def ask(query: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    with log.open("w") as output, subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            wait_until(lambda: "ready to receive web requests" in log.read_text() or process.poll(), "Prometheus")
            assert process.poll() is None, log.read_text()
            yield ask
        finally:
            process.terminate()
            process.wait(30)
