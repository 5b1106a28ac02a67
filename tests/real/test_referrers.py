"""What belongs to an image, at a registry without the referrers API (distribution 2.8): found as `oras` finds it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http, serve_in_thread
from support.client import Client
from support.command import Command
from support.signed_images import SIGNATURE, described, discover, fallback_index, signed_image

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder
    from support.docker_registry import DockerRegistry
    from support.signed_images import SignedImage

pytestmark = pytest.mark.real


def push_signed(url: str, repository: str, image: SignedImage) -> None:
    push_over_http(url, repository, image.root, ["v1"])
    for referrer in image.by_subject.values():
        push_over_http(url, repository, referrer)
    push_over_http(url, repository, image.cosign, [image.cosign_tag])


def assert_whole(url: str, repository: str, image: SignedImage) -> None:
    """By raw requests: everything is there byte for byte, and is discovered."""
    with Client(url) as client:
        for tag, made in (("v1", image.root), (image.cosign_tag, image.cosign)):
            assert client.get(f"/v2/{repository}/manifests/{tag}", accept=made.media_type).body == made.raw
        for made in (image.root, image.cosign, *image.by_subject.values()):
            for item in made.manifests():
                got = client.get(f"/v2/{repository}/manifests/{item.digest}", accept=item.media_type)
                assert (got.status, got.body) == (200, item.raw)
            for blob in made.all_blobs():
                assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()
        for subject, referrer in image.by_subject.items():
            assert discover(client, repository, subject) == [described(referrer)]


@pytest.mark.extended
def test_from_a_registry_with_the_api_to_one_without_and_back(
    command: Command, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    image = signed_image(content)
    with serve_in_thread() as source, serve_in_thread() as third:
        push_signed(source.url, repository, image)
        insecure = [word for each in (source, destination, third) for word in ("--insecure", each.address)]
        there = f"{destination.address}/{repository}"
        ran = command.run("copy", f"{source.address}/{repository}:v1", there, *insecure, "--referrers", "all")
        assert ran.outcomes == {"copied": 5}
        with Client(destination.url) as client:
            assert client.get(f"/v2/{repository}/referrers/{image.root.digest}").status == 404
        assert_whole(destination.url, repository, image)
        again = command.run("copy", f"{source.address}/{repository}:v1", there, *insecure, "--referrers", "all")
        assert again.outcomes == {"unchanged": 5}
        back = command.run("copy", f"{there}:v1", f"{third.address}/{repository}", *insecure, "--referrers", "all")
        assert back.outcomes == {"copied": 5}
        assert_whole(third.url, repository, image)


@pytest.mark.extended
def test_runs_at_the_same_time_all_find_a_place_in_the_list(
    tmp_path: Path, source: DockerRegistry, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    """Four runs, each with a signature of its own for the same image, each from a repository of its own."""
    image = content.image(1)
    signatures = [content.artifact(SIGNATURE, subject=image) for _ in range(4)]
    running = []
    for number, signature in enumerate(signatures):
        origin = f"{repository}-{number}"
        push_over_http(source.url, origin, image, ["v1"])
        push_over_http(source.url, origin, signature)
        push_over_http(source.url, origin, fallback_index(content, signature), [image.digest.replace(":", "-")])
        directory = tmp_path / f"run{number}"
        directory.mkdir()
        words = ("copy", f"{source.address}/{origin}:v1", f"{destination.address}/{repository}", "--referrers", "all")
        insecure = ("--insecure", source.address, "--insecure", destination.address)
        running.append(threading.Thread(target=Command(directory).run, args=(*words, *insecure)))
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    with Client(destination.url) as client:
        found = [entry["digest"] for entry in discover(client, repository, image.digest)]
    assert sorted(found) == sorted(signature.digest for signature in signatures)
