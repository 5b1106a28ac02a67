"""Repositories that must exist before a push: created once for each that an image is to be brought to, where the user
says so (`create_repositories`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from image_syncer.errors import AuthenticationError, Origin, RefusedError, SyncError
from image_syncer.net import share, shared_result
from image_syncer.registry import Creation, Operation
from image_syncer.registry.harbor_projects import (
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
    from image_syncer.config import RegistryBook
    from image_syncer.config.registry_creation import RepositoryTemplate
    from image_syncer.coordinator.own_api import OwnApi
    from image_syncer.credentials.clouds import CloudPlace, CloudSource
    from image_syncer.credentials.clouds.ecr_api import EcrApi
    from image_syncer.net import EndpointBook
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint

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
            from image_syncer.credentials.clouds.ecr_api import EcrApi

            found = self._apis[registry] = place, EcrApi(place)
        return found


class RepositoryCreation:
    """Makes what is missing, once in a run for each repository of ECR and each project of Harbor, however many images
    and workers wait for it. `created` are those that it made, in their order.
    """

    def __init__(self, endpoints: EndpointBook, registries: RegistryBook, apis: EcrApis, own_api: OwnApi) -> None:
        self._endpoints = endpoints
        self._registries = registries
        self._apis = apis
        self._own_api = own_api
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
            task = self._ensured[key] = share(make(repository, endpoint, template, key))
        return await shared_result(task)

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
        return self._note(key, created=answer.status == PROJECT_CREATED)

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
