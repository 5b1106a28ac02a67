"""The preparation of destinations before blobs are copied: missing repositories are created, ECR lists its blobs."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from image_syncer.errors import AuthenticationError, Origin, RefusedError, SyncError
from image_syncer.net import share, shared_result
from image_syncer.registry import Creation, Operation
from image_syncer.registry.vendor_apis import (
    PROJECT_ABSENT,
    PROJECT_CREATED,
    PROJECT_TAKEN,
    PROJECT_THERE,
    build_create_project,
    build_head_project,
    project_of,
)
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from image_syncer.config.registry_book import RepositoryTemplate
    from image_syncer.coordinator.context import RunContext
    from image_syncer.credentials.clouds import CloudPlace
    from image_syncer.credentials.clouds.ecr import EcrApi
    from image_syncer.discovery.registry_access import RegistryAccess
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry import Endpoint


BATCH_CALLS = "ask for many blobs"
"""The name of these calls among the requests of a run."""
_FEWEST = 2
"""Blobs that are worth a call: the request that begins an upload asks for a single one too."""

_Answer = TypeVar("_Answer")
_log = get_logger(__name__)


class Preparation:
    """Prepares the destinations of a run. Each missing repository of ECR and project of Harbor is created once, however
    many images wait for it.
    """

    def __init__(self, context: RunContext, access: RegistryAccess) -> None:
        self._registries = access.lookup.registries
        self._clouds = access.lookup.source.clouds
        self._own_api = access.own_api
        self._endpoints = context.endpoints
        self._known_blobs = context.known_blobs
        self._absent = context.transfers.absent
        self._requests = access.transport.requests
        self._ecr_apis: dict[str, tuple[CloudPlace, EcrApi]] = {}
        self._silent: set[str] = set()
        """Registries that refused to say which of many blobs they have."""
        self._ensured: dict[str, asyncio.Task[bool]] = {}
        self.creates = any(entry.creation is not None for entry in self._registries.entries)
        """Whether a repository may have to be created."""
        self.created: list[str] = []
        """The repositories and projects that were created, in their order: "registry/name"."""

    async def prepare(self, repository: Repository, digests: Sequence[Digest]) -> None:
        """Create `repository` if it is missing, and note which of `digests` it has. Raises SyncError where it is
        missing and cannot be created.
        """
        await self.create(repository)
        registry = repository.registry
        if registry in self._silent:
            return
        endpoint = await self._endpoints.resolve(registry, Origin.DESTINATION)
        if endpoint.profile.tells_many_blobs and self._ecr_place(registry) is not None:
            await self._note_present(repository, digests)

    async def create(self, repository: Repository) -> bool:
        """Create `repository`, or its project, where it is missing; return whether it was created in this run. Raises
        `SyncError` where it cannot be.
        """
        template = self._registries.template_for(repository)
        if template is None:
            return False
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        kind = endpoint.profile.creation
        if kind is Creation.BY_PUSH:
            return False
        name = repository.name if kind is Creation.ECR_API else project_of(repository)
        key = f"{repository.registry}/{name}"
        task = self._ensured.get(key)
        if task is None or (task.done() and _may_pass(task)):
            if kind is Creation.ECR_API:
                work = self._make_repository(repository, template)
            else:
                work = self._make_project(repository, endpoint, template)
            task = self._ensured[key] = share(self._note_created(key, work))
        return await shared_result(task)

    async def _note_created(self, key: str, work: Coroutine[None, None, bool]) -> bool:
        created = await work
        if created:
            self.created.append(key)
            _log.info("created", repository=key)
        return created

    async def _make_repository(self, repository: Repository, template: RepositoryTemplate) -> bool:
        try:
            return await self._ask_ecr(repository, lambda api: api.ensure_repository(repository.name, template))
        except SyncError as error:
            located = error.changed(origin=Origin.DESTINATION).located(operation="create repository")
            raise located from error.__cause__

    async def _make_project(self, repository: Repository, endpoint: Endpoint, template: RepositoryTemplate) -> bool:
        authorization = await self._own_api.password_of(repository)
        if authorization is None:
            raise AuthenticationError(
                f"the API of {repository.registry} wants a user name and a password, and there are none for it",
                origin=Origin.DESTINATION,
                operation=Operation.CREATE_PROJECT.value,
                hint="Add them to the auth file: a robot that may create projects, or an administrator.",
            )
        ask = partial(self._own_api.ask, origin=Origin.DESTINATION, authorization=authorization)
        head = build_head_project(endpoint, repository)
        answer = await ask(head, endpoint, accept=(PROJECT_THERE, PROJECT_ABSENT))
        if answer.status == PROJECT_THERE:
            return False
        create = build_create_project(endpoint, repository, public=template.public, scan_on_push=template.scan_on_push)
        answer = await ask(create, endpoint, accept=(PROJECT_CREATED, PROJECT_TAKEN))
        return bool(answer.status == PROJECT_CREATED)

    async def _note_present(self, repository: Repository, digests: Sequence[Digest]) -> None:
        """Ask for many blobs with one call, instead of a request for each."""
        from image_syncer.credentials.clouds.ecr import MOST_DIGESTS

        unknown = {str(digest): digest for digest in digests if not self._known_blobs.has(repository, digest)}
        if len(unknown) < _FEWEST:
            return
        texts = list(unknown)
        batches = [texts[start : start + MOST_DIGESTS] for start in range(0, len(texts), MOST_DIGESTS)]
        self._requests[BATCH_CALLS] += len(batches)

        def find(batch: list[str], api: EcrApi) -> list[str]:
            return api.find_blobs(repository.name, batch)

        try:
            answers = await asyncio.gather(*(self._ask_ecr(repository, partial(find, batch)) for batch in batches))
        except SyncError as error:
            self._silent.add(repository.registry)
            _log.info("blobs are asked for one by one", registry=repository.registry, reason=error.message)
            return
        there = set(itertools.chain.from_iterable(answers))
        for text, digest in unknown.items():
            (self._known_blobs if text in there else self._absent).add(repository, digest)

    def _ecr_place(self, registry: str) -> CloudPlace | None:
        """Return where the API of `registry` is, if that is known."""
        place = self._clouds.place_of(registry, self._registries)
        return place if place is not None and place.cloud == "aws" else None

    async def _ask_ecr(self, repository: Repository, call: Callable[[EcrApi], _Answer]) -> _Answer:
        """Return the answer of the API of the repository's registry, from a thread."""
        registry = repository.registry
        if registry not in self._ecr_apis:
            place = self._ecr_place(registry)
            if place is None:
                raise RefusedError(
                    f"it is not known in which region of AWS {registry} is",
                    hint="Say so in its entry: cloud: {name: aws, region: …}",
                )
            from image_syncer.credentials.clouds.ecr import EcrApi

            self._ecr_apis[registry] = place, EcrApi(place)
        place, api = self._ecr_apis[registry]
        return await asyncio.to_thread(self._clouds.run, place, lambda: call(api))


def _may_pass(task: asyncio.Task[bool]) -> bool:
    """Return whether it failed, and may succeed another time."""
    if task.cancelled():
        return True
    error = task.exception()
    return isinstance(error, SyncError) and bool(error.retryable)
