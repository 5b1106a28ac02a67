"""A dry run, a forced run, and the list of what is as wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml

from image_syncer.embedded import ContentBuilder, DemoImage, push_over_http
from real.conftest import INSECURE
from support.access_log import AccessLog, count_kinds
from support.client import Client

if TYPE_CHECKING:
    from support.command import Command, Ran
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real


@dataclass
class Job:
    """Some images that share a layer, and the rules that copy them."""

    command: Command
    source: DockerRegistry
    destination: DockerRegistry
    images: list[DemoImage]

    @property
    def auth(self) -> dict[str, object]:
        return {self.source.address: INSECURE, self.destination.address: INSECURE}

    @property
    def rules(self) -> dict[str, str]:
        return {
            f"{self.source.address}/{image.repository}:{image.tag}": f"{self.destination.address}/{image.repository}"
            for image in self.images
        }

    @property
    def blobs(self) -> dict[str, int]:
        """Sizes of the distinct blobs in bytes."""
        return {blob.digest: blob.size for image in self.images for blob in image.manifest.all_blobs()}

    def run(self, *words: object, code: int = 0) -> Ran:
        return self.command.sync(self.auth, self.rules, *words, code=code)

    def statuses(self) -> list[int]:
        """What the destination answers for each image."""
        with Client(self.destination.url) as client:
            return [client.head(f"/v2/{one.repository}/manifests/{one.tag}").status for one in self.images]


@pytest.fixture
def job(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
) -> Job:
    base = content.layer(300_000)
    images = [
        DemoImage(f"{repository}/a", "v1", content.image([base, content.layer(20_000)])),
        DemoImage(f"{repository}/a", "v2", content.index(shared_layers=[base], attestations=True)),
        DemoImage(f"{repository}/b", "v1", content.index(docker=True)),
    ]
    for image in images:
        push_over_http(source.url, image.repository, image.manifest, [image.tag])
    return Job(command, source, destination, images)


@pytest.mark.extended
def test_a_dry_run_tells_and_changes_nothing(job: Job) -> None:
    logs = [AccessLog(job.source), AccessLog(job.destination)]
    ran = job.run("--dry-run")
    assert count_kinds(logs, ran.totals["request_count"]) == ran.totals["requests"]
    assert {request.method for log in logs for request in log.requests()} == {"HEAD", "GET"}
    assert logs[1].kinds() == {"head manifest": len(job.images)}
    assert job.statuses() == [404] * len(job.images)
    assert ran.outcomes == {"would be copied": len(job.images)}
    planned = sum(job.blobs.values())
    assert ran.totals["bytes_planned"] == planned
    assert ran.totals["bytes_moved"] == 0
    for origin, target in job.rules.items():
        assert f"would copy {origin} → {target}:" in ran.out
    assert job.run().totals["bytes_moved"] == planned
    assert job.run("--dry-run").outcomes == {"unchanged": len(job.images)}


@pytest.mark.extended
def test_force_writes_every_manifest_again_and_moves_no_blob(job: Job) -> None:
    first = job.run()
    log = AccessLog(job.destination)
    forced = job.run("--force")
    assert forced.outcomes == {"copied": len(job.images)}
    assert forced.totals["blobs_moved"] == forced.totals["bytes_moved"] == 0
    puts = [request.path for request in log.requests() if request.kind == "put manifest"]
    assert len(puts) == len(set(puts)) == first.totals["requests"]["put manifest"]
    assert {request.status for request in log.requests() if request.kind == "start upload"} == {201}
    assert "put upload" not in log.kinds()


@pytest.mark.extended
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_list_of_what_is_as_wanted_is_an_images_file(job: Job, form: str) -> None:
    missing = f"{job.source.address}/{job.images[0].repository}:missing"
    rules = {**job.rules, missing: f"{job.destination.address}/{job.images[0].repository}:missing"}
    words = ("--output-success-images", "done", "--output-images-format", form)
    ran = job.command.sync(job.auth, rules, *words, code=1)
    assert ran.outcomes == {"copied": len(job.images), "failed": 1}
    text = (job.command.directory / "done").read_text()
    listed = json.loads(text) if form == "json" else yaml.safe_load(text)
    tags = {origin: origin.rpartition(":")[2] for origin in job.rules}
    assert listed == {origin: [f"{target}:{tags[origin]}"] for origin, target in job.rules.items()}
    again = job.command.run("--auth", "auth.yaml", "--images", "done", *words[:1], "done-again", *words[2:])
    assert again.outcomes == {"unchanged": len(job.images)}
    assert (job.command.directory / "done-again").read_text() == text
