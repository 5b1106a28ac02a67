"""The policies of a run, asked about every image before anything of it is on its way."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from image_syncer.config.policy import OnRefusal, format_age, refusal_by_name
from image_syncer.coordinator.foreign_layers import blobs_to_bring
from image_syncer.coordinator.image_outcomes import fail_delivery
from image_syncer.coordinator.policy_command import AT_ONCE, PolicyError, ask_program
from image_syncer.errors import SyncError
from image_syncer.net import share, shared_result
from image_syncer.oci import ManifestKind
from image_syncer.registry.referrers import describe_referrer, is_attached_tag
from image_syncer.telemetry import Outcome
from image_syncer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.config import Settings
    from image_syncer.config.policy import Policy, PolicyCommand
    from image_syncer.coordinator.creation_times import CreationTimes
    from image_syncer.coordinator.discovery import Selected
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.coordinator.referrers import ReferrerSearch
    from image_syncer.oci import Digest, Manifest, Reference
    from image_syncer.planning import ImageTree

__all__ = ["PolicyGate", "settle_by_name"]

QUESTION_VERSION = 1
"""Of the document that a program is given; fields may be added without a new one."""
_FILE_SYSTEMS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
"""Layers that make up the files of a container (OCI image specification 1.1, "Image Layer Filesystem Changeset")."""


def settle_by_name(policies: Sequence[Policy], image: OpenImage) -> None:
    """End `image` where it must not go for its name alone: also where the destination has it already."""
    for destination in () if image.is_carried else image.open:
        found = refusal_by_name(policies, image.source, destination)
        if found is not None:
            _refuse(image, destination, *found)


class PolicyGate:
    """Ends every image that one of `policies` refuses. What is carried along with an image goes where that goes."""

    def __init__(
        self, policies: Sequence[Policy], search: ReferrerSearch, times: CreationTimes, settings: Settings
    ) -> None:
        self._policies = policies
        self._search = search
        self._times = times
        self._settings = settings
        self._programs = asyncio.Semaphore(AT_ONCE)
        self._began_at = time.time()

    def settle_by_name(self, image: OpenImage) -> None:
        """See `settle_by_name`."""
        settle_by_name(self._policies, image)

    async def settle(
        self, image: OpenImage, selected: Selected, tree: ImageTree, there: Mapping[Reference, Digest | None]
    ) -> None:
        """End `image` where its `tree` must not go; `there` is what the destinations have under its tag now."""
        if image.is_carried:
            return
        looks = _Looks(self._search, self._times, image.source, selected, self._settings, self._began_at)
        await asyncio.gather(*(self._settle(image, place, tree, looks, there.get(place)) for place in image.open))

    async def _settle(
        self, image: OpenImage, destination: Reference, tree: ImageTree, looks: _Looks, there: Digest | None
    ) -> None:
        try:
            for policy in self._policies:
                if not policy.holds_for(destination):
                    continue
                why = await looks.refusal(policy, tree)
                if why is None and policy.command is not None:
                    question = self._question(image.source, destination, tree, looks, there)
                    why = await self._ask(policy.command, question)
                if why is not None:
                    _refuse(image, destination, policy, why)
                    return
        except SyncError as error:
            _fail(image, destination, error.copy())

    async def _ask(self, command: PolicyCommand, question: Mapping[str, Any]) -> str | None:
        async with self._programs:
            return await ask_program(command, question, os.environ)

    def _question(
        self, source: Reference, destination: Reference, tree: ImageTree, looks: _Looks, there: Digest | None
    ) -> dict[str, Any]:
        root = tree.manifest
        described = describe_referrer(root)
        return {
            "version": QUESTION_VERSION,
            "source": _place(source),
            "destination": _place(destination),
            "digest": str(root.digest),
            "source_digest": str(looks.selected.source_digest),
            "replaced_digest": None if there is None else str(there),
            "media_type": root.media_type,
            "artifact_type": described.artifact_type,
            "platforms": _platforms(tree),
            "annotations": described.annotations,
            "bytes": looks.size(tree),
            "dry_run": self._settings.dry_run,
        }


class _Looks:
    """What is found out about one image, once for all its destinations."""

    def __init__(
        self,
        search: ReferrerSearch,
        times: CreationTimes,
        source: Reference,
        selected: Selected,
        settings: Settings,
        now: float,
    ) -> None:
        self._search = search
        self._times = times
        self._source = source
        self.selected = selected
        self._settings = settings
        self._now = now
        self._found: dict[Policy, asyncio.Task[str | None]] = {}

    async def refusal(self, policy: Policy, tree: ImageTree) -> str | None:
        """Why the image itself is reason enough to refuse it; None where it is not."""
        if policy not in self._found:
            self._found[policy] = share(self._refusal(policy, tree))
        return await shared_result(self._found[policy])

    def size(self, tree: ImageTree) -> int | None:
        """Bytes of all its blobs; None where a manifest does not tell."""
        sizes = [blob.size for blob in blobs_to_bring(tree, self._settings.foreign_layers)]
        return sum(sizes) if all(size >= 0 for size in sizes) else None

    async def _refusal(self, policy: Policy, tree: ImageTree) -> str | None:
        if policy.require and not self._belongs_to_another(tree):
            lacking = await self._search.find_lacking(self._source.repository, self.selected, policy.require)
            if lacking:
                return f"the image has no {lacking[0]}"
        if policy.max_bytes is not None:
            size = self.size(tree)
            if size is None:
                return "the image does not say how large it is"
            if size > policy.max_bytes:
                return f"the image has {format_size(size)}, and may have {format_size(policy.max_bytes)}"
        if policy.max_age_s is not None:
            return await self._age_refusal(policy.max_age_s, tree)
        return None

    async def _age_refusal(self, most_s: float, tree: ImageTree) -> str | None:
        created = await self._times.of_image(self._source.repository, tree.manifest)
        if created is None:
            return "the image does not say when it was created"
        age_s = self._now - created
        if age_s <= most_s:
            return None
        return f"the image was created {format_age(age_s)} ago, and {format_age(most_s)} are allowed"

    def _belongs_to_another(self, tree: ImageTree) -> bool:
        """Whether it is a signature, an SBOM or a list of them under a tag of theirs, which nothing signs. What holds
        files is an image, whatever its tag says.
        """
        tag = self._source.tag
        return tag is not None and is_attached_tag(tag) and not any(map(_holds_files, tree.publish_order()))


def _holds_files(manifest: Manifest) -> bool:
    if manifest.kind is ManifestKind.SCHEMA1:
        return True
    return any(layer.media_type.startswith(_FILE_SYSTEMS) for layer in manifest.layers)


def _platforms(tree: ImageTree) -> list[str]:
    """What its indexes say: of BuildKit's attestations, that their platform is unknown, which is left out."""
    platforms = (child.platform for manifest in tree.publish_order() for child in manifest.children)
    return sorted({str(platform) for platform in platforms if platform is not None and platform.os != "unknown"})


def _place(reference: Reference) -> dict[str, str | None]:
    return {
        "reference": str(reference),
        "registry": reference.repository.registry,
        "repository": reference.repository.name,
        "tag": reference.tag,
    }


def _refuse(image: OpenImage, destination: Reference, policy: Policy, why: str) -> None:
    if policy.on_refusal is OnRefusal.SKIP:
        image.enter(destination, Outcome.SKIPPED, reason=f"the policy “{policy.name}” refuses it: {why}")
        return
    _fail(image, destination, PolicyError(f"the policy “{policy.name}” refuses it: {why}"))


def _fail(image: OpenImage, destination: Reference, error: SyncError) -> None:
    fail_delivery(image, destination, error.located(operation="ask the policy"))
