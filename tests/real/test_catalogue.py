"""A whole catalogue from docker-registry to docker-registry: every byte arrives, and a second run moves nothing."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from image_syncer.oci import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, MANIFEST_MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST
from real.catalogue import REPOSITORIES, TAGS, build_catalogue, by_repository, push_catalogue
from real.conftest import INSECURE
from support.access_log import AccessLog, Logged, count_kinds
from support.client import Client
from support.command import Command, Ran
from support.docker_registry import DockerRegistry, serve_docker_registry
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from image_syncer.embedded import DemoImage, MadeManifest

pytestmark = [pytest.mark.real, pytest.mark.extended]

SKOPEOS = 4
"""How many run at once."""
_ACCEPT = ", ".join(MANIFEST_MEDIA_TYPES)


@dataclass
class Migration:
    """The catalogue at both ends, the rules, and two runs by them."""

    images: list[DemoImage]
    source: DockerRegistry
    destination: DockerRegistry
    rules: dict[str, str]
    first: Ran
    first_logs: tuple[AccessLog, AccessLog]
    first_requests: Counter[str]
    second: Ran
    second_logs: tuple[AccessLog, AccessLog]

    @property
    def listed(self) -> int:
        """Rules for which the source's tags have to be listed."""
        return sum(":" not in rule.partition("/")[2] or ":/" in rule for rule in self.rules)

    @property
    def blobs(self) -> dict[str, int]:
        """The sizes of all distinct blobs by digest, in bytes."""
        return {blob.digest: blob.size for image in self.images for blob in image.manifest.all_blobs()}


def mirror_of(repository: str) -> str:
    return f"mirror/{repository}"


def write_rules(images: list[DemoImage], source: str, destination: str) -> dict[str, str]:
    """Every repository once, in the four ways in which an images file can name five tags."""
    rules = {}
    for number, repository in enumerate(by_repository(images)):
        origin, target = f"{source}/{repository}", f"{destination}/{mirror_of(repository)}"
        if number % 4 == 0:
            rules[origin] = target
        elif number % 4 == 1:
            rules[f"{origin}:{','.join(TAGS)}"] = target
        elif number % 4 == 2:
            rules[f"{origin}:/^(v[0-9]|latest)$/"] = target
        else:
            rules |= {f"{origin}:{tag}": f"{target}:{tag}" for tag in TAGS}
    return rules


@pytest.fixture(scope="module")
def migration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migration]:
    directory = tmp_path_factory.mktemp("catalogue")
    images = build_catalogue()
    with (
        serve_docker_registry(directory / "source") as source,
        serve_docker_registry(directory / "destination") as destination,
    ):
        push_catalogue(source.url, images)
        rules = write_rules(images, source.address, destination.address)
        auth = {source.address: INSECURE, destination.address: INSECURE}
        command = Command(directory, workers=None)
        logs = AccessLog(source), AccessLog(destination)
        first = command.sync(auth, rules)
        requests = count_kinds(logs, first.totals["request_count"])
        later_logs = AccessLog(source), AccessLog(destination)
        second = command.sync(auth, rules)
        yield Migration(images, source, destination, rules, first, logs, requests, second, later_logs)


def test_the_catalogue_has_every_shape(migration: Migration) -> None:
    assert len(by_repository(migration.images)) == REPOSITORIES
    assert len(migration.images) == REPOSITORIES * len(TAGS)
    manifests = [item for image in migration.images for item in image.manifest.manifests()]
    assert {item.media_type for item in manifests} == {OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST}
    assert any(item.raw.startswith(b"{\n") for item in manifests)
    assert any(inner.children for item in manifests for inner in item.children)
    assert 0 in migration.blobs.values()


def test_raw_requests_find_every_byte(migration: Migration) -> None:
    with Client(migration.destination.url) as client:
        for repository, images in by_repository(migration.images).items():
            place = f"/v2/{mirror_of(repository)}"
            for image in images:
                answer = client.get(f"{place}/manifests/{image.tag}", Accept=_ACCEPT)
                assert answer.body == image.manifest.raw
                assert answer.headers["docker-content-digest"] == image.manifest.digest
                assert answer.headers["content-type"] == image.manifest.media_type
            for item in distinct(images):
                answer = client.get(f"{place}/manifests/{item.digest}", Accept=_ACCEPT)
                assert (answer.body, answer.headers["content-type"]) == (item.raw, item.media_type)
            for blob in {blob.digest: blob for image in images for blob in image.manifest.all_blobs()}.values():
                assert client.get(f"{place}/blobs/{blob.digest}").body == blob.read()
            assert sorted(client.get(f"{place}/tags/list").json()["tags"]) == sorted(TAGS)


def test_skopeo_finds_every_manifest(migration: Migration) -> None:
    skopeo = Skopeo()

    def inspect(image: DemoImage) -> bytes:
        return skopeo.inspect_raw(f"{migration.destination.address}/{mirror_of(image.repository)}:{image.tag}")

    with ThreadPoolExecutor(SKOPEOS) as pool:
        found = list(pool.map(inspect, migration.images))
    assert found == [image.manifest.raw for image in migration.images]


@pytest.mark.parametrize("tag", TAGS)
def test_skopeo_copies_what_arrived(migration: Migration, tmp_path: Path, tag: str) -> None:
    skopeo = Skopeo()
    for image in [one for one in migration.images if one.tag == tag and can_be_copied(one.manifest)][:3]:
        directory = tmp_path / image.repository.replace("/", "-")
        reference = f"{migration.destination.address}/{mirror_of(image.repository)}:{tag}"
        skopeo.copy_to_directory(reference, directory)
        files = {path.read_bytes() for path in directory.iterdir()}
        assert files >= {item.raw for item in image.manifest.manifests()}
        assert files >= {blob.read() for blob in image.manifest.all_blobs()}


def test_the_report_says_what_happened(migration: Migration) -> None:
    report, totals = migration.first, migration.first.totals
    assert report.outcomes == {"copied": len(migration.images)}
    told = {image["destination"]: image for image in report.images}
    assert len(told) == len(migration.images)
    for image in migration.images:
        entry = told[f"{migration.destination.address}/{mirror_of(image.repository)}:{image.tag}"]
        assert entry["source"] == f"{migration.source.address}/{image.repository}:{image.tag}"
        assert entry["source_digest"] == entry["destination_digest"] == image.manifest.digest
        arrivals = entry["blobs_moved"] + entry["blobs_mounted"] + entry["blobs_present"]
        assert arrivals == len(image.manifest.all_blobs())
    for field in ("bytes_moved", "blobs_moved", "blobs_mounted", "blobs_present"):
        assert sum(image[field] for image in report.images) == totals[field]
    assert totals["blobs_moved"] == len(migration.blobs)
    assert totals["bytes_moved"] == sum(migration.blobs.values())
    assert report.report["exit_code"] == 0
    assert f"{len(migration.images)} copied" in report.out


def test_the_report_counts_the_requests_that_the_registries_saw(migration: Migration) -> None:
    assert migration.first.totals["requests"] == migration.first_requests
    assert migration.second.totals["requests"] == sum((log.kinds() for log in migration.second_logs), Counter())


def test_no_blob_moves_twice(migration: Migration) -> None:
    source, destination = migration.first_logs
    downloads = Counter(digest_of(request) for request in source.requests() if request.kind == "get blob")
    assert downloads == Counter({digest: 1 for digest, size in migration.blobs.items() if size})
    uploads = [request for request in destination.requests() if request.kind == "put upload"]
    assert Counter(request.query["digest"][0] for request in uploads) == Counter(dict.fromkeys(migration.blobs, 1))
    assert {request.status for request in uploads} == {201}
    mounts = [request for request in destination.requests() if request.kind == "start upload" and request.status == 201]
    assert len(mounts) == migration.first.totals["blobs_mounted"]
    assert migration.first_requests["head blob"] == migration.first_requests["cancel upload"] == 0


def test_a_manifest_comes_after_all_that_it_names(migration: Migration) -> None:
    there: set[tuple[str, str]] = set()
    made = {str(item.digest): item for image in migration.images for item in image.manifest.manifests()}
    tags = {(mirror_of(image.repository), image.tag): image.manifest for image in migration.images}
    puts = 0
    for request in migration.first_logs[1].requests():
        if request.status != 201:
            continue
        repository = request.path.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
        if request.kind in ("put upload", "start upload"):
            there.add((repository, request.query["digest" if request.kind == "put upload" else "mount"][0]))
        elif request.kind == "put manifest":
            name = digest_of(request)
            manifest = made.get(name) or tags[repository, name]
            needed = {blob.digest for blob in manifest.blobs} | {child.digest for child in manifest.children}
            assert {(repository, digest) for digest in needed} <= there
            there.add((repository, manifest.digest))
            puts += 1
    assert puts == migration.first_requests["put manifest"] >= len(migration.images)


def test_the_second_run_makes_two_requests_a_tag_and_moves_nothing(migration: Migration) -> None:
    source, destination = migration.second_logs
    images = len(migration.images)
    assert migration.second.outcomes == {"unchanged": images}
    totals = migration.second.totals
    assert (totals["bytes_moved"], totals["blobs_moved"], totals["blobs_mounted"], totals["blobs_present"]) == (0,) * 4
    assert source.kinds() == {"head manifest": images, "list tags": migration.listed}
    assert destination.kinds() == {"head manifest": images}
    for log, name in ((source, str), (destination, mirror_of)):
        heads = Counter(request.path for request in log.requests() if request.method == "HEAD")
        assert heads == Counter([f"/v2/{name(image.repository)}/manifests/{image.tag}" for image in migration.images])


def distinct(images: Iterable[DemoImage]) -> list[MadeManifest]:
    """All manifests of the images, each once."""
    return list({item.digest: item for image in images for item in image.manifest.manifests()}.values())


def digest_of(request: Logged) -> str:
    """What stands last in the path."""
    return request.path.rpartition("/")[2]


def can_be_copied(manifest: MadeManifest) -> bool:
    """Whether skopeo 1.9 copies it: no index in an index, no layer that lies elsewhere."""
    nested = any(child.children for child in manifest.children)
    foreign = any(b"foreign" in item.raw for item in manifest.manifests())
    return not nested and not foreign
