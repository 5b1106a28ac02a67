"""The check of one image at one destination: its tag, every manifest under it, every blob that they name. What several
images of a repository share is checked once.

Checks that several images share: each is made once. While it is under way, others wait for it; what was found right
is remembered, in bounded memory, and so is what was found wrong.

Findings: what came of the check of one image at one destination.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec import Struct

from image_syncer.config import ForeignLayers
from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.coordinator.manifest_reads import MAX_MANIFEST_BYTES
from image_syncer.errors import IntegrityError, Origin, ProtocolViolation, SyncError
from image_syncer.oci import InvalidManifest, parse_manifest
from image_syncer.planning import MAX_DEPTH, MAX_MANIFESTS
from image_syncer.registry import build_get_manifest, build_head_blob, content_digest, content_length
from image_syncer.telemetry import Difference

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from image_syncer.config import Settings
    from image_syncer.coordinator.verify_blob import BlobReading
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor, Digest, Manifest, Reference, Repository

__all__ = [
    "Findings",
    "Found",
    "Partly",
    "SharedChecks",
    "TreeCheck",
    "build_check",
]


class Findings(Struct):
    """What came of the check of one image. `root` is the digest that the destination has under the image's name.

    `manifests`, `blobs` and `bytes_read` count what was asked for because of this image, and not because of another.
    """

    root: Digest | None = None
    differences: tuple[Difference, ...] = ()
    error: SyncError | None = None
    manifests: int = 0
    blobs: int = 0
    bytes_read: int = 0

    @property
    def reason(self) -> str:
        """The first difference in words, and how many more there are."""
        more = len(self.differences) - 1
        return f"{self.differences[0]}" + (f" (and {more:,} more)" if more else "")

    def raise_if_wrong(self) -> None:
        """Raises `IntegrityError` where there are differences, and the error that kept them from being looked for."""
        if self.differences:
            first = self.differences[0]
            raise IntegrityError(
                f"what was copied is not all there: {self.reason}",
                origin=Origin.DESTINATION,
                operation="verify",
                expected=first.expected,
                actual=first.found,
                hint="The registry took it and does not have it now. Run it again with --force, and ask its operator.",
            )
        if self.error is not None:
            raise self.error

    def facts(self) -> dict[str, Any]:
        """The same for the report."""
        facts: dict[str, Any] = {
            "manifests_checked": self.manifests,
            "blobs_checked": self.blobs,
            "bytes_read": self.bytes_read,
        }
        if self.differences:
            facts["differences"] = self.differences
        return facts


MOST_WRONG = 10_000
"""Things found wrong that are remembered; the others are asked for again by the next image that names them."""

Found: TypeAlias = tuple[Difference, ...]
"""What is wrong; nothing where all is right."""


class Partly(Exception):  # noqa: N818 - carries what was found, and never leaves the check of an image
    """Something could not be checked, for `error`; `found` is what was found wrong beside it."""

    def __init__(self, found: Found, error: SyncError) -> None:
        super().__init__(str(error))
        self.found = found
        self.error = error


class SharedChecks:
    """Checks of one kind, of what repositories have under digests. At most `most_in_memory` that were right are kept in
    memory, the others in a file.
    """

    def __init__(self, most_in_memory: int) -> None:
        self._right = BoundedKnownBlobs(most_in_memory)
        self._wrong: dict[tuple[Repository, Digest], Found] = {}
        self._running: dict[tuple[Repository, Digest], asyncio.Future[Found]] = {}

    async def once(
        self, repository: Repository, digest: Digest, work: Callable[[], Coroutine[Any, Any, Found]]
    ) -> Found:
        """What `work` finds, or has found before, or is about to find for somebody else. Raises `Partly` or the
        `SyncError` that it ended with.
        """
        key = (repository, digest)
        if self._right.has(repository, digest):
            return ()
        known = self._wrong.get(key)
        if known is not None:
            return known
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(work())
            running.add_done_callback(lambda done: self._on_done(key, done))
        try:
            return await asyncio.shield(running)
        except Partly as partly:
            raise Partly(partly.found, partly.error.copy()) from None
        except SyncError as error:
            # Every waiter gets an error of its own, since each fills in its own place.
            raise error.copy() from error

    def give_up(self) -> list[asyncio.Future[Found]]:
        """Cancel those that are under way, which are returned."""
        running = list(self._running.values())
        for future in running:
            future.cancel()
        return running

    def close(self) -> None:
        """Forget what was right."""
        self._right.close()

    def _on_done(self, key: tuple[Repository, Digest], done: asyncio.Future[Found]) -> None:
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        found = done.result()
        if not found:
            self._right.add(*key)
        elif len(self._wrong) < MOST_WRONG:
            self._wrong[key] = found


NOTHING = "nothing"
"""What is found where something is missing (404)."""
MANIFESTS_IN_MEMORY = 100_000
"""Manifests that were found right with all that they name, of those remembered; some 13 MB."""
_FOUND_OR_NOT = (200, 404)

_Answer = TypeVar("_Answer")


class TreeCheck:
    """Compares destinations with what is expected of them. With `reading` every blob is read and hashed; without it, a
    HEAD tells that it is there, and its size.
    """

    def __init__(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        *,
        blobs_in_memory: int,
        reading: BlobReading | None = None,
        foreign_layers: ForeignLayers = ForeignLayers.LEAVE,
    ) -> None:
        """Layers that manifests name by URLs are looked for where they are copied."""
        self._foreign = foreign_layers is ForeignLayers.COPY
        self._client = client
        self._endpoints = endpoints
        self._reading = reading
        self._blobs = SharedChecks(blobs_in_memory)
        self._trees = SharedChecks(min(blobs_in_memory, MANIFESTS_IN_MEMORY))
        self.blobs_known = 0
        """Distinct blobs that have come up so far."""
        self.blobs_checked = 0
        self.bytes_known = 0
        """Their sizes together."""

    async def compare(self, destination: Reference, expected: Digest) -> Findings:
        """Whether `destination` has `expected`, and all that it names. Whatever keeps it from being told is in the
        findings too, beside what was found until then.
        """
        findings = Findings()
        try:
            manifest = await self._root(destination, expected, findings)
            if manifest is not None and not findings.differences:
                found = await self._trees.once(
                    destination.repository,
                    manifest.digest,
                    lambda: self._tree(destination.repository, manifest, findings, 0),
                )
                findings.differences = found
        except Partly as partly:
            findings.differences, findings.error = partly.found, partly.error
        except SyncError as error:
            findings.error = error
        return findings

    async def close(self) -> None:
        """Give up what is under way, and forget everything."""
        await asyncio.gather(*self._blobs.give_up(), *self._trees.give_up(), return_exceptions=True)
        self._blobs.close()
        self._trees.close()

    async def _root(self, destination: Reference, expected: Digest, findings: Findings) -> Manifest | None:
        what = "manifest" if destination.tag is None else "tag"
        found = await self._get(destination.repository, destination.target, expected, what, findings)
        if isinstance(found, Difference):
            findings.differences = (found,)
            return None
        findings.root = found.digest
        if found.digest != expected:
            findings.differences = (Difference(what, str(destination), str(expected), str(found.digest)),)
        return found

    async def _tree(self, repository: Repository, manifest: Manifest, findings: Findings, depth: int) -> Found:
        """Everything that `manifest` names. Blobs and children are checked together, and what is wrong with some of
        them does not keep the others from being looked at.
        """
        if depth > MAX_DEPTH:
            raise _hostile(repository, manifest, f"indexes are nested more than {MAX_DEPTH} deep")
        blobs = manifest.named_blobs if self._foreign else manifest.blobs
        work = [self._blob(repository, blob, findings) for blob in blobs]
        children = {child.digest: child for child in manifest.children}
        work += [self._child(repository, child, findings, depth + 1) for child in children.values()]
        ended = await asyncio.gather(*work, return_exceptions=True)
        found: dict[Difference, None] = {}
        error: SyncError | None = None
        for each in ended:
            if isinstance(each, Partly):
                found.update(dict.fromkeys(each.found))
                error = error or each.error
            elif isinstance(each, SyncError):
                error = error or each
            elif isinstance(each, BaseException):
                raise each
            else:
                found.update(dict.fromkeys(each))
        if error is not None:
            raise Partly(tuple(found), error)
        return tuple(found)

    async def _child(self, repository: Repository, child: Descriptor, findings: Findings, depth: int) -> Found:
        async def check() -> Found:
            if findings.manifests >= MAX_MANIFESTS:
                what = f"more than {MAX_MANIFESTS} manifests are under it"
                raise ProtocolViolation(f"the index cannot be used: {what}", **_places(repository, str(child.digest)))
            found = await self._get(repository, str(child.digest), child.digest, "manifest", findings)
            if isinstance(found, Difference):
                return (found,)
            if found.digest != child.digest:
                where = f"{repository}@{child.digest}"
                return (Difference("manifest", where, str(child.digest), str(found.digest)),)
            return await self._tree(repository, found, findings, depth)

        return await self._trees.once(repository, child.digest, check)

    async def _blob(self, repository: Repository, blob: Descriptor, findings: Findings) -> Found:
        async def check() -> Found:
            self.blobs_known += 1
            self.bytes_known += max(blob.size, 0)
            findings.blobs += 1
            try:
                if self._reading is None:
                    return await self._head_blob(repository, blob)
                return await self._read_blob(self._reading, repository, blob, findings)
            finally:
                self.blobs_checked += 1

        return await self._blobs.once(repository, blob.digest, check)

    async def _head_blob(self, repository: Repository, blob: Descriptor) -> Found:
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_head_blob(endpoint, repository, blob.digest)
        response = await _located(
            self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=_FOUND_OR_NOT), repository, blob
        )
        where = f"{repository}@{blob.digest}"
        if response.status != _FOUND_OR_NOT[0]:
            return (Difference("blob", where, str(blob.digest), NOTHING),)
        size = content_length(response.headers)
        # A length of 0 may be that of a server which does not know it for a HEAD.
        if size and 0 <= blob.size != size:
            return (Difference("blob", where, f"{blob.size} bytes", f"{size} bytes"),)
        return ()

    async def _read_blob(
        self, reading: BlobReading, repository: Repository, blob: Descriptor, findings: Findings
    ) -> Found:
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        read = await _located(reading.read(endpoint, repository, blob), repository, blob)
        where = f"{repository}@{blob.digest}"
        if read is None:
            return (Difference("blob", where, str(blob.digest), NOTHING),)
        findings.bytes_read += read.bytes_read
        if read.whole and read.digest == blob.digest and blob.size in (-1, read.size):
            return ()
        if 0 <= blob.size != read.size:
            size = f"{read.size} bytes" if read.whole else f"more than {blob.size} bytes"
            return (Difference("blob", where, f"{blob.size} bytes", size),)
        return (Difference("blob", where, str(blob.digest), str(read.digest)),)

    async def _get(
        self, repository: Repository, target: str, expected: Digest, what: str, findings: Findings
    ) -> Manifest | Difference:
        """The manifest that is there; or the difference, if there is none that could be used."""
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_get_manifest(endpoint, repository, target)
        findings.manifests += 1
        try:
            response = await self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=_FOUND_OR_NOT)
        except SyncError as error:
            raise error.located(repository=str(repository), reference=target) from None
        where = f"{repository}{'@' if ':' in target else ':'}{target}"
        if response.status != _FOUND_OR_NOT[0]:
            return Difference(what, where, str(expected), NOTHING)
        if len(response.body) > MAX_MANIFEST_BYTES:
            return Difference(what, where, str(expected), f"more than {MAX_MANIFEST_BYTES} bytes")
        try:
            manifest = parse_manifest(response.body, response.headers.get("Content-Type"), algorithm=expected.algorithm)
        except InvalidManifest as error:
            return Difference(what, where, str(expected), f"no manifest: {error}")
        said = content_digest(response.headers)
        if said is not None and said.algorithm == manifest.digest.algorithm and said != manifest.digest:
            return Difference(what, where, str(said), f"bytes of {manifest.digest}")
        return manifest


def build_check(
    client: RegistryClient, endpoints: EndpointBook, settings: Settings, reading: BlobReading | None = None
) -> TreeCheck:
    """The check of a run with these settings."""
    return TreeCheck(
        client,
        endpoints,
        blobs_in_memory=settings.blobs_in_memory,
        reading=reading,
        foreign_layers=settings.foreign_layers,
    )


async def _located(work: Coroutine[Any, Any, _Answer], repository: Repository, blob: Descriptor) -> _Answer:
    try:
        return await work
    except SyncError as error:
        raise error.located(repository=str(repository), digest=str(blob.digest)) from None


def _places(repository: Repository, reference: str) -> dict[str, Any]:
    return {
        "origin": Origin.DESTINATION,
        "operation": "get manifest",
        "repository": str(repository),
        "reference": reference,
    }


def _hostile(repository: Repository, manifest: Manifest, what: str) -> SyncError:
    return ProtocolViolation(f"the index cannot be used: {what}", **_places(repository, str(manifest.digest)))
