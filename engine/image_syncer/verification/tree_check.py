"""The check of one image at one destination: its tag, every manifest under it, every blob that they name."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pycurl

from image_syncer.config import ForeignLayers
from image_syncer.coordinator.image_delivery import CheckFindings
from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.discovery.discovery import hostile
from image_syncer.discovery.manifest_reads import MAX_MANIFEST_BYTES
from image_syncer.errors import Origin, SyncError
from image_syncer.net import BlobAnswer, InFlightLimit
from image_syncer.oci import Digest, InvalidManifest, parse_manifest
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Response,
    build_get_blob,
    build_get_manifest,
    content_digest,
    follow_redirect,
    may_carry_credentials,
    parse_blob_range,
)
from image_syncer.scheduling import MAX_DEPTH, MAX_MANIFESTS, Tries
from image_syncer.telemetry import Difference

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from hashlib import _Hash

    from image_syncer.coordinator.context import RunContext
    from image_syncer.net import RegistryClient
    from image_syncer.oci import Descriptor, Manifest, Reference, Repository
    from image_syncer.registry import Endpoint, Request
    from image_syncer.scheduling import RetryPolicy


MOST_WRONG = 10_000
"""Differences that are remembered; others are asked for again by the next image that names them."""
NOTHING = "nothing"
"""What is found where something is missing (404)."""
MANIFESTS_IN_MEMORY = 100_000
"""Manifests that are remembered as right with all that they name; some 13 MB."""
AT_ONCE = 16
"""Blobs of one registry at a time: hashing keeps one core busy, which more would only share."""
MOST_RENEWALS = 3
"""Renewals of the token in one exchange."""
PROGRESS_BYTES = 256 * 1024
"""A try that read so many bytes does not count as a failure."""
_OK = 200
_PARTIAL_CONTENT = 206
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_RANGE_REFUSED = 416


class CheckResult(NamedTuple):
    """The differences that a check has found, none where all is right, and the error that ended it."""

    differences: tuple[Difference, ...] = ()
    error: SyncError | None = None


class TreeCheck:
    """Compares destinations with what they should have. With `reading` every blob is read and hashed; without it, a
    HEAD asks for its size. Foreign layers are checked where they are copied.
    """

    def __init__(self, context: RunContext, reading: BlobReading | None = None) -> None:
        settings = context.settings
        self._foreign = settings.foreign_layers is ForeignLayers.COPY
        self._client = context.client
        self._endpoints = context.endpoints
        self._discovery = context.discovery
        self._reading = reading
        self._blobs = SharedChecks(settings.blobs_in_memory)
        self._trees = SharedChecks(min(settings.blobs_in_memory, MANIFESTS_IN_MEMORY))
        self.blobs_known = 0
        """Distinct blobs that manifests have named so far."""
        self.blobs_checked = 0
        self.bytes_known = 0
        """The sizes of the blobs known."""

    @property
    def bytes_read(self) -> int:
        """The bytes of blobs that were read and hashed so far."""
        return self._reading.bytes_read if self._reading is not None else 0

    async def compare(self, destination: Reference, expected: Digest) -> CheckFindings:
        """Return what `destination` lacks of `expected` and all that it names. An error that ends the check is in the
        findings too.
        """
        findings = CheckFindings()
        try:
            manifest = await self._root(destination, expected, findings)
            if manifest is not None and not findings.differences:
                repository = destination.repository
                check = partial(self._tree, repository, manifest, findings, 0)
                findings.differences, findings.error = await self._trees.once(repository, manifest.digest, check)
        except SyncError as error:
            findings.error = error
        return findings

    async def close(self) -> None:
        """Give up checks that are under way."""
        await asyncio.gather(*self._blobs.give_up(), *self._trees.give_up(), return_exceptions=True)
        self._blobs.close()
        self._trees.close()

    async def _root(self, destination: Reference, expected: Digest, findings: CheckFindings) -> Manifest | None:
        what = "manifest" if destination.tag is None else "tag"
        found = await self._get(destination.repository, destination.target, expected, what, findings)
        if isinstance(found, Difference):
            findings.differences = (found,)
            return None
        findings.root = found.digest
        if found.digest != expected:
            findings.differences = (Difference(what, str(destination), str(expected), str(found.digest)),)
        return found

    async def _tree(
        self, repository: Repository, manifest: Manifest, findings: CheckFindings, depth: int
    ) -> CheckResult:
        """Check everything that `manifest` names, blobs and children together; a difference ends no other check."""
        if depth > MAX_DEPTH:
            what = f"indexes are nested more than {MAX_DEPTH} deep"
            raise hostile(repository, manifest.digest, what, Origin.DESTINATION)
        blobs = manifest.named_blobs if self._foreign else manifest.blobs
        work = [self._blob(repository, blob, findings) for blob in blobs]
        children = {child.digest: child for child in manifest.children}
        work += [self._child(repository, child, findings, depth + 1) for child in children.values()]
        ended = await asyncio.gather(*work)
        differences = dict.fromkeys(each for found in ended for each in found.differences)
        return CheckResult(tuple(differences), next((found.error for found in ended if found.error is not None), None))

    async def _child(
        self, repository: Repository, child: Descriptor, findings: CheckFindings, depth: int
    ) -> CheckResult:
        async def check() -> CheckResult:
            if findings.manifests >= MAX_MANIFESTS:
                what = f"more than {MAX_MANIFESTS} manifests are under it"
                raise hostile(repository, child.digest, what, Origin.DESTINATION)
            found = await self._get(repository, str(child.digest), child.digest, "manifest", findings)
            if isinstance(found, Difference):
                return CheckResult((found,))
            if found.digest != child.digest:
                where = f"{repository}@{child.digest}"
                return CheckResult((Difference("manifest", where, str(child.digest), str(found.digest)),))
            return await self._tree(repository, found, findings, depth)

        return await self._trees.once(repository, child.digest, check)

    async def _blob(self, repository: Repository, blob: Descriptor, findings: CheckFindings) -> CheckResult:
        async def check() -> CheckResult:
            self.blobs_known += 1
            self.bytes_known += max(blob.size, 0)
            findings.blobs += 1
            try:
                if self._reading is None:
                    return await self._head_blob(repository, blob)
                return await self._read_blob(self._reading, repository, blob, findings)
            except SyncError as error:
                raise error.located(repository=str(repository), digest=str(blob.digest)) from None
            finally:
                self.blobs_checked += 1

        return await self._blobs.once(repository, blob.digest, check)

    async def _head_blob(self, repository: Repository, blob: Descriptor) -> CheckResult:
        size = await self._discovery.blob_size(repository, blob.digest)
        if size is None:
            return _differs(repository, blob, blob.digest, NOTHING)
        # A server that does not know the length for a HEAD may answer 0.
        if size and 0 <= blob.size != size:
            return _differs(repository, blob, f"{blob.size} bytes", f"{size} bytes")
        return CheckResult()

    async def _read_blob(
        self, reading: BlobReading, repository: Repository, blob: Descriptor, findings: CheckFindings
    ) -> CheckResult:
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        read = await reading.read(endpoint, repository, blob)
        if read is None:
            return _differs(repository, blob, blob.digest, NOTHING)
        findings.bytes_read += read.received
        if not read.too_long and read.digest == blob.digest and blob.size in (-1, read.size):
            return CheckResult()
        if 0 <= blob.size != read.size:
            size = f"more than {blob.size} bytes" if read.too_long else f"{read.size} bytes"
            return _differs(repository, blob, f"{blob.size} bytes", size)
        return _differs(repository, blob, blob.digest, read.digest)

    async def _get(
        self, repository: Repository, target: str, expected: Digest, what: str, findings: CheckFindings
    ) -> Manifest | Difference:
        """Return the manifest that is there, or the difference where none can be used."""
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_get_manifest(endpoint, repository, target)
        findings.manifests += 1
        try:
            response = await self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=(_OK, _NOT_FOUND))
        except SyncError as error:
            raise error.located(repository=str(repository), reference=target) from None
        where = f"{repository}{'@' if ':' in target else ':'}{target}"
        if response.status != _OK:
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


class SharedChecks:
    """Checks of what repositories have under digests, each made once for all images of a run.

    At most `most_in_memory` right ones are remembered in memory, the others in a file.
    """

    def __init__(self, most_in_memory: int) -> None:
        self._right = BoundedKnownBlobs(most_in_memory)
        self._wrong: dict[tuple[Repository, Digest], CheckResult] = {}
        self._running: dict[tuple[Repository, Digest], asyncio.Future[CheckResult]] = {}

    async def once(
        self, repository: Repository, digest: Digest, work: Callable[[], Coroutine[Any, Any, CheckResult]]
    ) -> CheckResult:
        """Return what `work` finds, has found before, or finds now for another image; the error that it raises, too."""
        key = (repository, digest)
        if self._right.has(repository, digest):
            return CheckResult()
        known = self._wrong.get(key)
        if known is not None:
            return known
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(work())
            running.add_done_callback(lambda done: self._on_done(key, done))
        try:
            return await asyncio.shield(running)
        except SyncError as error:
            return CheckResult(error=error.changed())  # the error itself keeps the frames of all that wait

    def give_up(self) -> list[asyncio.Future[CheckResult]]:
        """Cancel and return the checks under way."""
        running = list(self._running.values())
        for future in running:
            future.cancel()
        return running

    def close(self) -> None:
        """Close the file."""
        self._right.close()

    def _on_done(self, key: tuple[Repository, Digest], done: asyncio.Future[CheckResult]) -> None:
        del self._running[key]
        if done.cancelled() or done.exception() is not None or done.result().error is not None:
            return
        found = done.result()
        if not found.differences:
            self._right.add(*key)
        elif len(self._wrong) < MOST_WRONG:
            self._wrong[key] = found


class BlobReading:
    """Reads and hashes blobs in constant memory, from the buffer of libcurl into the digest. It reads a few of each
    registry at a time; `limit_of` may allow fewer.

    A broken read continues at its offset, with the state of the hash. `chance` returns a uniform number in [0, 1).
    """

    def __init__(
        self,
        client: RegistryClient,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float],
        limit_of: Callable[[str], int | None] = lambda _registry: None,
    ) -> None:
        self._client = client
        self._retry = retry
        self._chance = chance
        self._limit_of = limit_of
        self._gates: dict[str, InFlightLimit] = {}
        self.bytes_read = 0

    async def read(self, endpoint: Endpoint, repository: Repository, blob: Descriptor) -> BlobHash | None:
        """Return what the blob has now; None where it is missing. Raises SyncError where it cannot be read."""
        limit = self._gates.get(repository.registry)
        if limit is None:
            at_once = min(AT_ONCE, self._limit_of(repository.registry) or AT_ONCE)
            limit = self._gates[repository.registry] = InFlightLimit(at_once)
        await limit.enter()
        try:
            return await self._read(endpoint, repository, blob)
        finally:
            limit.leave()

    async def _read(self, endpoint: Endpoint, repository: Repository, blob: Descriptor) -> BlobHash | None:
        sink = BlobHash(blob, self._count)
        loop = asyncio.get_running_loop()
        tries = Tries(loop.time())
        while True:
            before = sink.size
            try:
                if not await self._exchange(endpoint, repository, blob, sink):
                    return None
            except SyncError as error:
                now = loop.time()
                if sink.size - before >= PROGRESS_BYTES:
                    tries = Tries(now)
                pause = self._retry.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause)
                if pause is None:
                    raise tries.write_on(error).changed(origin=Origin.DESTINATION) from None
            else:
                if sink.resumed and sink.digest != blob.digest:
                    sink.restart()  # the blob may have changed between the answers
                    continue
                return sink
            await asyncio.sleep(pause)

    def _count(self, size: int) -> None:
        self.bytes_read += size

    async def _exchange(self, endpoint: Endpoint, repository: Repository, blob: Descriptor, sink: BlobHash) -> bool:
        """Try once, with redirects and renewed tokens. Return False where the blob is missing."""
        client = self._client
        request = build_get_blob(endpoint, repository, blob.digest, offset=sink.size)
        renewals = followed = 0
        while True:
            own = may_carry_credentials(endpoint.base_url, request.url)
            value = await client.admit(request, endpoint) if own else None
            response = await self._transfer(request, endpoint, value, sink)
            if response is None:
                client.patience.went(endpoint.registry, request.operation.value)
                return True
            if response.status in REDIRECT_STATUSES and response.headers.get("Location"):
                request = follow_redirect(
                    request, response, followed=followed, origin=Origin.DESTINATION, allowed=endpoint.redirects
                )
                followed += 1
            elif response.status == _UNAUTHORIZED and renewals < MOST_RENEWALS and own:
                renewals += 1
                challenges = response.headers.get_all("WWW-Authenticate")
                await client.authorizer.renew(endpoint, repository, request.scopes, value, challenges)
            elif response.status == _NOT_FOUND:
                return False
            elif response.status == _RANGE_REFUSED and sink.size:
                sink.restart()  # the blob is shorter now, and is read from its start
                request = build_get_blob(endpoint, repository, blob.digest)
            else:
                error = client.failure(response, request, endpoint, Origin.DESTINATION)
                if not (own and client.waits_for(error, endpoint)):
                    raise error

    async def _transfer(
        self, request: Request, endpoint: Endpoint, authorization: str | None, sink: BlobHash
    ) -> Response | None:
        """Return None once the blob was read to its end, or past it; else the answer."""
        transport = self._client.transport
        transport.requests[request.operation.value] += 1
        answer = BlobAnswer(request, sink.begin)
        handle = transport.handles.take(request, endpoint, authorization, streamed=True)
        easy = handle.easy
        metered = transport.meter(easy, endpoint.registry, sending=False)
        code = -1
        try:
            easy.setopt(pycurl.HEADERFUNCTION, answer.lines.append)
            receive = answer.receive if metered is None else metered.receiving(answer.receive)
            easy.setopt(pycurl.WRITEFUNCTION, receive, use_memoryview=True)
            easy.setopt(pycurl.LOW_SPEED_LIMIT, 1)
            easy.setopt(pycurl.LOW_SPEED_TIME, max(1, int(transport.timeouts.stall_s)))
            code, words = await transport.transfer(easy, request, endpoint, Origin.DESTINATION)
        finally:
            if metered is not None:
                metered.close()
            transport.handles.give_back(handle, spoiled=code != 0)
        answer.look()
        if answer.fault is not None:
            raise answer.fault
        if sink.too_long:
            return None
        response = answer.response(code, words, Origin.DESTINATION, endpoint)
        return None if answer.taker is not None else response


class BlobHash:
    """The hash of one blob, and the bytes that it has so far. `received` counts the bytes of all tries; the rest of a
    blob that is `too_long` is not read.
    """

    def __init__(self, blob: Descriptor, on_bytes: Callable[[int], None]) -> None:
        self._blob = blob
        self._on_bytes = on_bytes
        self._hash: _Hash = blob.digest.new_hash()
        self.size = 0
        self.received = 0
        self.too_long = False
        self.resumed = False

    @property
    def digest(self) -> Digest:
        """The digest of the bytes so far."""
        return Digest(f"{self._blob.digest.algorithm}:{self._hash.hexdigest()}")

    def restart(self) -> None:
        """Start again at the first byte."""
        self._hash = self._blob.digest.new_hash()
        self.size = 0
        self.too_long = self.resumed = False

    def begin(self, head: Response) -> Callable[[memoryview], int | None] | None:
        """Return what takes the body of an answer with this head; see `BlobAnswer`."""
        if head.status not in (_OK, _PARTIAL_CONTENT):
            return None
        began = parse_blob_range(head, self.size).start
        if began != self.size:
            self.restart()
        self.resumed = self.size > 0
        return self.take

    def take(self, chunk: memoryview) -> int | None:
        """Hash `chunk`; return -1 where the blob is too large, to end the transfer."""
        self._hash.update(chunk)
        count = len(chunk)
        self.size += count
        self.received += count
        self._on_bytes(count)
        if 0 <= self._blob.size < self.size:
            self.too_long = True
            return -1
        return None


def _differs(repository: Repository, blob: Descriptor, expected: str, found: str) -> CheckResult:
    return CheckResult((Difference("blob", f"{repository}@{blob.digest}", str(expected), str(found)),))
