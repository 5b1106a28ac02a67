"""A registry that is well, and what can be wrong with what it keeps and what it takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.doctor import writing
from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    DigestHeader,
    Fault,
    FaultKind,
    push_over_http,
    push_to,
    serve_in_thread,
)
from support.certificates import make_certificates
from support.client import Client
from support.docker_registry import serve_docker_registry
from support.nginx import serve_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.conftest import Doctor
    from image_syncer.embedded import EmbeddedRegistry

INSECURE = {"insecure": True}
WRITES = ("upload", "upload of 1 MiB", "upload as a stream", "upload in pieces", "mount", "giving up", "manifest PUT")
TAG = "image-syncer-doctor-"


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    """One with an index at team/app:v1, and an image at team/app:latest."""
    content = ContentBuilder(seed=4)
    with serve_in_thread() as running:
        push_to(running.storage, "team/app", content.index(), ["v1"])
        push_to(running.storage, "team/app", content.image([content.layer(300_000)]), ["latest"])
        yield running


def test_a_registry_that_is_well_is_only_read(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    seen = doctor.look(f"{registry.address}/team/app", INSECURE)
    assert (seen.code, seen.failed()) == (0, [])
    assert seen["tags"]["what"] == "2 tags"
    assert seen["catalog"]["what"] == "1 repository"
    assert seen["manifest HEAD"]["facts"]["target"] == "latest"
    assert seen["blob"]["size_bytes"] == 300_000
    assert seen["range"]["size_bytes"] == 150_000
    assert seen["push"]["what"] == "a push is let in; to try uploads, add --write"
    assert not {"start upload", "put manifest", "delete manifest", "delete blob"} & registry.counters.requests.keys()
    assert [request.status for request in registry.counters.history("put upload")] == [404]
    for name in ("ping", "manifest HEAD", "blob", "DNS"):
        assert seen[name]["seconds"] > 0


def test_a_tag_or_a_digest_may_be_named(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    seen = doctor.look(f"{registry.address}/team/app:v1", INSECURE)
    assert seen["manifest GET"]["facts"]["kind"] == "an index"
    assert seen["blob"]["state"] == "ok"
    digest = seen["manifest GET"]["facts"]["digest"]
    assert doctor.look(f"{registry.address}/team/app@{digest}", INSECURE)["manifest HEAD"]["facts"]["target"] == digest
    assert doctor.look(f"{registry.address}/team/app:gone", INSECURE).failed() == ["manifest GET"]


def test_writing_leaves_nothing(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    before = doctor.look(f"{registry.address}/new/place", INSECURE, "--write")
    assert (before.code, before.failed()) == (0, [])
    assert before["clean up"]["what"] == "everything that was made is gone again"
    assert [before[name]["state"] for name in WRITES] == ["ok"] * len(WRITES)
    with Client(registry.url) as client:
        assert client.get("/v2/new/place/tags/list").status in (200, 404)
        assert client.get(f"/v2/new/place/manifests/{before['manifest PUT']['facts']['tag']}").status == 404


@pytest.mark.real
@pytest.mark.parametrize("deletes", [True, False])
def test_writing_to_a_real_registry(doctor: Doctor, tmp_path: Path, deletes: bool) -> None:
    with serve_docker_registry(tmp_path / "registry", deletes=deletes) as running:
        push_over_http(running.url, "app", ContentBuilder(seed=5).image(), ["v1"])
        seen = doctor.look(f"{running.address}/app", INSECURE, "--write")
        with Client(running.url) as client:
            tags = client.get("/v2/app/tags/list").json()["tags"]
    assert (seen.code, seen.failed()) == (0, [])
    assert [seen[name]["state"] for name in WRITES] == ["ok"] * len(WRITES)
    assert seen["upload in one POST"]["what"] == "not offered: a session was opened instead"
    assert not list((tmp_path / "registry" / "root").rglob("_uploads/*/data"))
    if deletes:
        assert seen["clean up"]["state"] == "ok"
        assert tags == ["v1"]
    else:
        assert seen["clean up"]["state"] == "warning"
        [left] = [tag for tag in tags if tag.startswith(TAG)]
        assert f"the tag {left}" in seen["clean up"]["facts"]["left"]
        assert "answered 405 UNSUPPORTED" in seen.said("clean up")


@pytest.mark.real
def test_nginx_that_ends_tls_before_a_real_registry(doctor: Doctor, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certificates")
    lines = (f"ssl_certificate {made.certificate};", f"ssl_certificate_key {made.key};")
    with (
        serve_docker_registry(tmp_path / "registry") as running,
        serve_nginx(tmp_path / "nginx", running.address, "client_max_body_size 512k;", tls=lines) as nginx,
    ):
        seen = doctor.look(f"{nginx.address}/app", {"ca_file": str(made.authority)}, "--write")
    assert seen["ping"]["facts"]["server"].startswith("nginx")
    assert seen["certificate"]["what"].startswith(
        "believed: CN = made-up server, by CN = made-up authority, good until"
    )
    assert seen.failed() == ["upload of 1 MiB"]
    assert "client_max_body_size" in seen.said("upload of 1 MiB")
    assert seen["manifest PUT"]["state"] == "not tried"
    assert seen["clean up"]["state"] == "ok"


@pytest.mark.parametrize("where", ["put manifest", "put upload"])
def test_what_was_taken_without_an_answer_is_taken_away_too(
    doctor: Doctor, registry: EmbeddedRegistry, where: str
) -> None:
    first = where == "put upload"  # that of a session which does not exist
    fault = Fault(where, FaultKind.LOST_ANSWER, times=None, match="team/app", skip=int(first))
    registry.behaviour = Behaviour(faults=(fault,))
    seen = doctor.look(f"{registry.address}/team/app", INSECURE, "--write")
    assert [name for name in seen.failed() if name in WRITES]
    assert seen["clean up"]["what"] == "everything that was made is gone again"
    assert sorted(registry.storage.tags("team/app")) == ["latest", "v1"]
    stored = [one for one in registry.counters.history(where) if one.status == 201]
    assert len(registry.counters.history(where.replace("put", "delete").replace("upload", "blob"))) >= len(stored)


def test_what_cannot_be_taken_away_in_time_is_told(
    doctor: Doctor, registry: EmbeddedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "DELETION_S", 0.0)
    seen = doctor.look(f"{registry.address}/team/app", INSECURE, "--write")
    assert (seen["clean up"]["state"], seen.failed()) == ("warning", [])
    assert "did not answer in time" in seen["clean up"]["what"]
    assert any(what.startswith(f"the tag {TAG}") for what in seen["clean up"]["facts"]["left"])


def test_a_registry_that_is_full(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(capacity_bytes=100)
    seen = doctor.look(f"{registry.address}/team/app", INSECURE, "--write")
    assert seen.failed() == ["upload"]
    assert "full or over its quota" in seen.said("upload")
    assert seen["clean up"]["state"] == "ok"


def test_what_a_registry_does_not_offer_is_no_failure(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(
        chunked_uploads=False, single_post=False, mounts=False, ranges=False, digest_header_on_get=DigestHeader.MISSING
    )
    seen = doctor.look(f"{registry.address}/team/app", INSECURE, "--write")
    assert (seen.code, seen.failed()) == (0, [])
    for name in ("upload as a stream", "upload in pieces", "upload in one POST", "mount"):
        assert seen[name]["state"] == "skipped"
    assert "answered 405" in seen["upload in pieces"]["what"]
    assert seen["range"]["what"] == "the whole blob comes for a part of it"
    assert "without a digest" in seen["manifest HEAD"]["what"]
    assert seen["clean up"]["state"] == "ok"


def test_a_registry_of_a_known_kind_that_does_otherwise(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(mounts=False, chunked_uploads=False)
    entry = {"insecure": True, "profile": "registry2"}
    seen = doctor.look(f"{registry.address}/team/app", entry, "--write")
    assert seen["kind"]["facts"]["profile"] == "registry2"
    assert seen["kind"]["facts"]["differences"] == [
        "does not do what that kind does: it mounts a blob of the same repository"
    ]
    assert "as the auth file says" in seen["kind"]["what"]


def test_what_a_registry_says_of_its_limit(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    said = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
    digest = doctor.look(f"{registry.address}/team/app", INSECURE)["manifest HEAD"]["facts"]["digest"]
    headers = {**said, "Docker-Content-Digest": digest}
    registry.behaviour = Behaviour(faults=(Fault("head manifest", times=None, status=200, headers=headers),))
    seen = doctor.look(f"{registry.address}/team/app", INSECURE)
    assert seen["manifest HEAD"]["what"].endswith("; 76 requests left of 100")
    assert seen["manifest HEAD"]["facts"]["requests_left"] == 76


def test_bytes_that_are_others(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.WRONG_BYTES, times=None),))
    seen = doctor.look(f"{registry.address}/team/app", INSECURE)
    assert "blob" in seen.failed()
    assert "the bytes of" in seen.said("blob")


def test_a_repository_that_is_not_there(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    seen = doctor.look(f"{registry.address}/team/gone", INSECURE)
    assert seen.failed() == ["tags"]
    assert "NAME_UNKNOWN" in seen.said("tags")
    assert "Add --write to see" in seen.said("tags")
    assert doctor.look(f"{registry.address}/team/gone", INSECURE, "--write")["tags"]["state"] == "warning"


def test_a_repository_that_a_run_makes(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(implicit_repositories=False)
    entry = {"insecure": True, "create_repositories": True}
    seen = doctor.look(f"{registry.address}/team/gone", entry, "--write")
    assert seen["tags"]["what"].endswith("a run makes it, as create_repositories says")
    assert seen.failed() == ["upload"]
    assert "the doctor does not: make it first" in seen.said("upload")


def test_mirrors_are_named(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    seen = doctor.look(f"{registry.address}/team/app", {"insecure": True, "mirrors": ["mirror.example/hub"]})
    assert seen["mirrors"]["facts"]["mirrors"] == ["mirror.example/hub/team/app"]


def test_the_whole_takes_no_longer_than_it_may(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(faults=(Fault("get manifest", FaultKind.STALL, times=None),))
    seen = doctor.look(f"{registry.address}/team/app", INSECURE, "--deadline", "2s")
    [slow] = seen.failed()
    assert "no end after" in seen.said(slow)
    assert seen["push"]["state"] == "not tried"
    assert seen["push"]["what"].endswith("for the whole examination were over")


def test_what_people_see(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    code, text = doctor.tell(f"{registry.address}/team/app", INSECURE)
    assert code == 0
    lines = text.splitlines()
    assert lines[-1].startswith(f"{registry.address}/team/app: well")
    marks = {line[0] for line in lines[:-1] if not line.startswith(" ")}
    assert marks <= {"✓", "–"}
    [tags] = [line for line in lines if line.startswith("✓ tags ")]
    assert tags.endswith(" ms  2 tags")


def test_what_a_program_reads(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    document = doctor.look(f"{registry.address}/team/app", INSECURE).document
    assert json.loads(json.dumps(document)) == document
    assert document["subject"] == f"{registry.address}/team/app"
    assert list(document["checks"][0]) == ["name", "state", "what", "cure", "seconds", "size_bytes", "facts"]


def test_every_check_is_on_the_page_and_no_other(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Za-z][^|]*) \|", page, re.MULTILINE)
    told = {name for row in rows for name in row.split(", ")} - {"check", "mirrors"}
    assert told == doctor.look(f"{registry.address}/team/app", INSECURE, "--write").states().keys()
