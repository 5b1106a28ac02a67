"""All that belongs to an image, at a registry without the referrers API (distribution 2.8): what arrives later, what is
left out, and what others have put there. Looked at by raw requests alone.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http, serve_in_thread
from support.client import Client
from support.command import Command
from support.signed_images import SBOM, SIGNATURE, described, discover, fallback_index, signed_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder, EmbeddedRegistry, MadeManifest
    from support.docker_registry import DockerRegistry
    from support.signed_images import SignedImage

pytestmark = pytest.mark.real


@pytest.fixture
def image(content: ContentBuilder) -> SignedImage:
    return signed_image(content)


@pytest.fixture
def listing(image: SignedImage, repository: str) -> Iterator[EmbeddedRegistry]:
    """A source with the API: the image, what refers to it, and what cosign has put under tags of it and of a child."""
    with serve_in_thread() as registry:
        push_over_http(registry.url, repository, image.root, ["v1"])
        for referrer in image.by_subject.values():
            push_over_http(registry.url, repository, referrer)
        push_over_http(registry.url, repository, image.cosign, [image.cosign_tag])
        yield registry


class Copy:
    """The copy of the image from the source to the docker-registry, and a stranger's look at what is there."""

    def __init__(
        self, command: Command, source: EmbeddedRegistry, destination: DockerRegistry, repository: str, of: SignedImage
    ) -> None:
        self._command = command
        self._places = source, destination
        self._of = of
        self.url = destination.url
        self.repository = repository

    def run(self, which: str = "all", *, to: str = "") -> dict[str, int]:
        source, destination = self._places
        insecure = [word for each in self._places for word in ("--insecure", each.address)]
        names = f"{source.address}/{self.repository}:v1", f"{destination.address}/{to or self.repository}"
        return self._command.run("copy", *names, *insecure, "--referrers", which).outcomes

    def found(self, *, at: str = "") -> set[str]:
        """Whatever is discovered from the image's manifests on, step by step, and under cosign's tags."""
        repository, found = at or self.repository, set()
        with Client(self.url) as client:
            look = [item.digest for item in self._of.root.manifests()]
            while look:
                entries = discover(client, repository, look.pop())
                look += [entry["digest"] for entry in entries]
                found |= {entry["digest"] for entry in entries}
            for digest in [item.digest for item in self._of.root.manifests()]:
                for kind in ("sig", "att", "sbom"):
                    tag = f"{digest.replace(':', '-')}.{kind}"
                    answer = client.head(f"/v2/{repository}/manifests/{tag}", accept=self._of.cosign.media_type)
                    found |= {answer.headers["docker-content-digest"]} if answer.status == 200 else set()
        return found

    def assert_bytes(self, *manifests: MadeManifest) -> None:
        with Client(self.url) as client:
            for item in (each for made in manifests for each in made.manifests()):
                path = f"/v2/{self.repository}/manifests/{item.digest}"
                assert client.get(path, accept=item.media_type).body == item.raw
                for blob in item.blobs:
                    assert client.get(f"/v2/{self.repository}/blobs/{blob.digest}").body == blob.read()


@pytest.fixture
def copy(
    command: Command, listing: EmbeddedRegistry, destination: DockerRegistry, repository: str, image: SignedImage
) -> Copy:
    return Copy(command, listing, destination, repository, image)


def digests(*manifests: MadeManifest) -> set[str]:
    return {str(made.digest) for made in manifests}


@pytest.mark.extended
def test_what_is_signed_later_arrives_with_the_next_run(
    copy: Copy, listing: EmbeddedRegistry, image: SignedImage, content: ContentBuilder
) -> None:
    before = image.signature, image.sbom, image.sbom_signature, image.cosign
    assert copy.run() == {"copied": 5}
    assert copy.found() == digests(*before)
    # To the image, to the SBOM of its child, and under cosign's tags of the image and of a child.
    later = content.artifact(SIGNATURE, subject=image.root), content.artifact(SIGNATURE, subject=image.sbom)
    attested, listed = content.image(1), content.image(1)
    for made in later:
        push_over_http(listing.url, copy.repository, made)
    push_over_http(listing.url, copy.repository, attested, [f"{image.root.digest.replace(':', '-')}.att"])
    push_over_http(listing.url, copy.repository, listed, [f"{image.child.digest.replace(':', '-')}.sbom"])
    assert copy.run() == {"copied": 4, "unchanged": 5}
    assert copy.found() == digests(*before, *later, attested, listed)
    copy.assert_bytes(image.root, *before, *later, attested, listed)
    assert copy.run() == {"unchanged": 9}


@pytest.mark.extended
def test_which_are_carried_along(copy: Copy, image: SignedImage) -> None:
    signature, sbom, deep, cosign = (
        digests(made) for made in (image.signature, image.sbom, image.sbom_signature, image.cosign)
    )
    created = "annotation=org.opencontainers.image.created"
    for number, (which, carried) in enumerate(
        {
            "all,depth=1": signature | sbom | cosign,
            SBOM: sbom,
            f"{SIGNATURE},cosign=false": signature,
            f"{created}=2024-*": signature | sbom | deep,
        }.items()
    ):
        there = f"{copy.repository}-{number}"
        assert copy.run(which, to=there) == {"copied": 1 + len(carried)}, which
        assert copy.found(at=there) == carried, which


@pytest.mark.extended
def test_two_runs_at_once_and_an_entry_of_somebody_else(
    copy: Copy, destination: DockerRegistry, image: SignedImage, content: ContentBuilder, tmp_path: Path
) -> None:
    """Each run brings another referrer of one image from another registry; the list had an entry before."""
    theirs = content.artifact("application/vnd.example.theirs", subject=image.root)
    push_over_http(destination.url, copy.repository, image.root)
    push_over_http(destination.url, copy.repository, theirs)
    tag = image.fallback_tags[image.root.digest]
    push_over_http(destination.url, copy.repository, fallback_index(content, theirs), [tag])
    ours = [content.artifact(SIGNATURE, subject=image.root) for _ in range(2)]
    with serve_in_thread() as one, serve_in_thread() as other:
        running = []
        for source, made in zip((one, other), ours, strict=True):
            push_over_http(source.url, copy.repository, image.root, ["v1"])
            push_over_http(source.url, copy.repository, made)
            directory = tmp_path / source.address.replace(":", "-")
            directory.mkdir()
            run = Copy(Command(directory), source, destination, copy.repository, image).run
            running.append(threading.Thread(target=run))
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    with Client(destination.url) as client:
        entries = discover(client, copy.repository, image.root.digest)
    assert sorted(entries, key=str) == sorted((described(made) for made in (theirs, *ours)), key=str)
