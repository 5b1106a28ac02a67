"""Repositories that must exist before a push: created once for each that an image is to be brought to, where the user
says so (`create_repositories`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.credentials.clouds.ecr_api import EcrApi
from image_syncer.errors import AuthenticationError, Origin, RefusedError, SyncError
from image_syncer.planning import Tries
from image_syncer.registry import (
    PROJECT_ABSENT,
    PROJECT_CREATED,
    PROJECT_TAKEN,
    PROJECT_THERE,
    Creation,
    Operation,
    basic_authorization,
    build_create_project,
    build_head_project,
    project_of,
)
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import RegistryBook, RepositoryTemplate
    from image_syncer.coordinator.credential_lookup import CredentialLookup
    from image_syncer.credentials.clouds import CloudPlace, CloudSource
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Repository
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["EcrApis", "RepositoryCreation"]

_log = get_logger(__name__)


class EcrApis:
    """The API of each registry of Amazon ECR that is asked, by registry."""

    def __init__(self, clouds: CloudSource, registries: RegistryBook) -> None:
        self._clouds = clouds
        self._registries = registries
        self._apis: dict[str, tuple[CloudPlace, EcrApi]] = {}

    def is_known(self, registry: str) -> bool:
        """Whether it is known where the API of `registry` is."""
        place = self._clouds.place_of(registry, self._registries)
        return place is not None and place.cloud == "aws"

    async def ensure_repository(self, repository: Repository, template: RepositoryTemplate) -> bool:
        """See `EcrApi.ensure_repository`."""
        place, api = self._api(repository.registry)
        work = lambda: api.ensure_repository(repository.name, template)  # noqa: E731 - a thread is given it
        return await asyncio.to_thread(self._clouds.run, place, work)

    async def find_blobs(self, repository: Repository, digests: list[str]) -> list[str]:
        """See `EcrApi.find_blobs`."""
        place, api = self._api(repository.registry)
        return await asyncio.to_thread(self._clouds.run, place, lambda: api.find_blobs(repository.name, digests))

    def _api(self, registry: str) -> tuple[CloudPlace, EcrApi]:
        found = self._apis.get(registry)
        if found is None:
            place = self._clouds.place_of(registry, self._registries)
            if place is None or place.cloud != "aws":
                raise RefusedError(
                    f"it is not known in which region of AWS {registry} is",
                    hint="Say so in its entry: cloud: {name: aws, region: …}",
                )
            found = self._apis[registry] = place, EcrApi(place)
        return found


class RepositoryCreation:
    """Makes what is missing, once in a run for each repository of ECR and each project of Harbor, however many images
    and workers wait for it. `created` are those that it made, in their order.

    `lookup` finds the credential of a repository; `retry` says how Harbor is asked again, and `chance` gives a
    uniform number in [0, 1).
    """

    def __init__(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        registries: RegistryBook,
        apis: EcrApis,
        lookup: CredentialLookup,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float],
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._registries = registries
        self._apis = apis
        self._lookup = lookup
        self._retry = retry
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._ensured: dict[str, asyncio.Task[bool]] = {}
        self.created: list[str] = []

    async def ensure(self, repository: Repository) -> bool:
        """Return when `repository` can be pushed to, as far as that takes a repository: whether it, or its project, was
        created in this run. Raises `SyncError` where it cannot be.
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
            make = self._make_repository if kind is Creation.ECR_API else self._make_project
            task = self._ensured[key] = self._loop.create_task(make(repository, endpoint, template, key))
        try:
            return await asyncio.shield(task)
        except SyncError as error:
            # Every waiter gets an error of its own, since each fills in its own place.
            raise error.copy() from error

    async def _make_repository(
        self, repository: Repository, _endpoint: Endpoint, template: RepositoryTemplate, key: str
    ) -> bool:
        try:
            created = await self._apis.ensure_repository(repository, template)
        except SyncError as error:
            error.origin = Origin.DESTINATION
            error.located(operation="create repository")
            raise
        return self._note(key, created=created)

    async def _make_project(
        self, repository: Repository, endpoint: Endpoint, template: RepositoryTemplate, key: str
    ) -> bool:
        credential = (await self._lookup.find(repository)).credential
        if credential is None or not credential.password:
            raise AuthenticationError(
                f"the API of {repository.registry} wants a user name and a password, and there are none for it",
                origin=Origin.DESTINATION,
                operation=Operation.CREATE_PROJECT.value,
                hint="Add them to the auth file: a robot that may create projects, or an administrator.",
            )
        authorization = basic_authorization(credential)
        head = build_head_project(endpoint, repository)
        answer = await self._ask(head, endpoint, authorization, (PROJECT_THERE, PROJECT_ABSENT))
        if answer.status == PROJECT_THERE:
            return False
        create = build_create_project(endpoint, repository, public=template.public, scan_on_push=template.scan_on_push)
        answer = await self._ask(create, endpoint, authorization, (PROJECT_CREATED, PROJECT_TAKEN))
        return self._note(key, created=answer.status == PROJECT_CREATED)

    async def _ask(self, request: Request, endpoint: Endpoint, authorization: str, accept: tuple[int, ...]) -> Response:
        """By Basic whatever the registry's own challenge is, so it does not go through the client's tokens."""
        tries = Tries(self._loop.time())
        while True:
            try:
                await self._client.wait_for_turn(endpoint, request.operation)
                response = await self._client.transport.perform(
                    request, endpoint, authorization=authorization, origin=Origin.DESTINATION
                )
                if response.status in accept:
                    return response
                raise self._client.failure(response, request, endpoint, Origin.DESTINATION)
            except SyncError as error:
                now = self._loop.time()
                pause = self._retry.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause)
                if pause is None:
                    tries.write_on(error)
                    error.located(operation=request.operation.value)
                    raise
            await asyncio.sleep(pause)

    def _note(self, key: str, *, created: bool) -> bool:
        if created:
            self.created.append(key)
            _log.info("created", repository=key)
        return created


def _may_pass(task: asyncio.Task[bool]) -> bool:
    """Whether it ended in vain, and may end otherwise another time."""
    if task.cancelled():
        return True
    error = task.exception()
    return isinstance(error, SyncError) and bool(error.retryable)
