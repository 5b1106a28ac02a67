"""The publisher over a client that is made up: the order of the manifests, and what is written once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from image_syncer.discovery.publisher import Publisher
from image_syncer.embedded import ContentBuilder
from image_syncer.errors import IntegrityError, RefusedError
from image_syncer.oci import Reference, Repository, parse_manifest
from image_syncer.registry import Endpoint, Headers, Response
from image_syncer.scheduling import ImageTree, KnownBlobsInMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.embedded import MadeManifest
    from image_syncer.registry import Request

REPOSITORY = Repository("registry.example", "team/app")


class Client:
    """Notes what is written where; refuses the targets in `refused`."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.refused: set[str] = set()
        self.headers = Headers()

    async def resolve(self, registry: str, _origin: object) -> Endpoint:
        return Endpoint(registry, f"https://{registry}")

    async def send(
        self, request: Request, _endpoint: Endpoint, *, check: Callable[[Response], None], **_: object
    ) -> Response:
        target = request.url.rpartition("/")[2]
        await asyncio.sleep(0)
        if target in self.refused:
            raise RefusedError(f"{target} is refused")
        self.written.append(target)
        response = Response(201, self.headers, b"", request.url)
        check(response)
        return response


def tree_of(made: MadeManifest) -> ImageTree:
    return ImageTree(parse_manifest(made.raw, made.media_type), tuple(tree_of(child) for child in made.children))


def publisher_of(client: Client) -> Publisher:
    return Publisher(client, client, KnownBlobsInMemory())  # type: ignore[arg-type]


def test_children_come_before_what_names_them_and_the_tag_is_last() -> None:
    async def scenario() -> None:
        client, index = Client(), ContentBuilder().nested_index()
        await publisher_of(client).publish(tree_of(index), Reference(REPOSITORY, "v1", None))
        assert client.written[-1] == "v1"
        assert sorted(client.written[:-1]) == sorted(item.digest for item in index.manifests() if item is not index)
        for item in index.manifests():
            name = "v1" if item is index else item.digest
            assert all(client.written.index(child.digest) < client.written.index(name) for child in item.children)

    asyncio.run(scenario())


def test_a_child_is_written_once_for_each_repository_however_many_images_share_it() -> None:
    async def scenario() -> None:
        client, index = Client(), ContentBuilder().index()
        publisher, tree = publisher_of(client), tree_of(index)
        tags = [Reference(REPOSITORY, f"v{number}", None) for number in range(5)]
        await asyncio.gather(*(publisher.publish(tree, tag) for tag in tags))
        await publisher.publish(tree, Reference(REPOSITORY, "later", None))
        assert len(client.written) == len(index.children) + len(tags) + 1
        await publisher.publish(tree, Reference(Repository("registry.example", "other"), "v1", None))
        assert len(client.written) == 2 * len(index.children) + len(tags) + 2

    asyncio.run(scenario())


def test_a_child_that_is_refused_keeps_the_tag_from_being_written_and_may_be_tried_again() -> None:
    async def scenario() -> None:
        client, index = Client(), ContentBuilder().index()
        publisher, tree = publisher_of(client), tree_of(index)
        client.refused = {index.children[1].digest}
        with pytest.raises(RefusedError):
            await publisher.publish(tree, Reference(REPOSITORY, "v1", None))
        assert "v1" not in client.written
        client.refused.clear()
        await publisher.publish(tree, Reference(REPOSITORY, "v1", None))
        assert client.written[-1] == "v1"
        assert client.written.count(index.children[0].digest) == 1

    asyncio.run(scenario())


def test_a_run_by_digest_writes_under_the_digest_that_was_planned() -> None:
    async def scenario() -> None:
        client, image = Client(), ContentBuilder().image()
        other = ContentBuilder(seed=2).image().digest
        await publisher_of(client).publish(tree_of(image), Reference(REPOSITORY, None, other))
        assert client.written == [image.digest]

    asyncio.run(scenario())


def test_a_registry_that_stored_something_else_is_found_out() -> None:
    async def scenario() -> None:
        client, image = Client(), ContentBuilder().image()
        client.headers = Headers([("Docker-Content-Digest", ContentBuilder(seed=2).image().digest)])
        with pytest.raises(IntegrityError):
            await publisher_of(client).publish(tree_of(image), Reference(REPOSITORY, "v1", None))

    asyncio.run(scenario())
