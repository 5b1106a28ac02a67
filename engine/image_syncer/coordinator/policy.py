"""The policies of a run: each image is checked, by rules and by the user's program, before it is copied."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct, field

from image_syncer.config.policy import OnRefusal, format_age, refusal_by_name
from image_syncer.coordinator.image_delivery import blobs_to_bring
from image_syncer.errors import SyncError, redact, visible
from image_syncer.net import share, shared_result
from image_syncer.oci import ManifestKind
from image_syncer.registry.referrers import describe_referrer, is_attached_tag
from image_syncer.telemetry import Outcome
from image_syncer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.config import Settings
    from image_syncer.config.policy import Policy, PolicyCommand
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.discovery.creation_times import CreationTimes
    from image_syncer.discovery.discovery import Selected
    from image_syncer.discovery.referrers import ReferrerSearch
    from image_syncer.oci import Digest, Manifest, Reference
    from image_syncer.scheduling import ImageTree


QUESTION_VERSION = 1
"""The version of the document that a program gets; fields may be added without a new one."""
AT_ONCE = 8
"""Programs that run together; each may load an interpreter."""
MAX_OUTPUT_BYTES = 64 * 1024
"""The bound of standard output, and of standard error; a reason is one line."""
MOST_SHOWN = 300
"""Characters of that line."""
_LEFT_OPEN_S = 1.0
"""A process that the program has started may hold its output open; what it wrote itself has come by then."""
_REFUSED = 1
_CHUNK_BYTES = 4096
_PASSED_ON = ("HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "PATH", "TMPDIR", "TZ", "USER")
"""Environment variables that programs need and that hold no secret."""
_FILE_SYSTEMS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
"""Layers with the files of a container (OCI image specification 1.1, "Image Layer Filesystem Changeset")."""


def settle_by_name(policies: Sequence[Policy], image: OpenImage) -> None:
    """End the destinations that a policy refuses for the names alone, also where they have the image already."""
    for destination in () if image.referrer_of else image.open:
        found = refusal_by_name(policies, image.source, destination)
        if found is not None:
            _refuse(image, destination, *found)


class PolicyGate:
    """Ends every image that one of `policies` refuses. Referrers are copied where their image is."""

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
        """Call the function `settle_by_name` with the policies of the run."""
        settle_by_name(self._policies, image)

    async def settle(
        self, image: OpenImage, selected: Selected, tree: ImageTree, there: Mapping[Reference, Digest | None]
    ) -> None:
        """End the destinations that a policy refuses; `there` is what they have under the tag now."""
        if image.referrer_of:
            return
        checked = _CheckedImage(image.source, selected, tree, self._size(tree))
        await asyncio.gather(*(self._settle(image, place, checked, there.get(place)) for place in image.open))

    async def _settle(
        self, image: OpenImage, destination: Reference, checked: _CheckedImage, there: Digest | None
    ) -> None:
        try:
            for policy in self._policies:
                if not policy.holds_for(destination):
                    continue
                if policy not in checked.refusals:
                    checked.refusals[policy] = share(self._refusal(policy, checked))
                why = await shared_result(checked.refusals[policy])
                if why is None and policy.command is not None:
                    question = self._question(checked, destination, there)
                    async with self._programs:
                        why = await ask_program(policy.command, question, os.environ)
                if why is not None:
                    _refuse(image, destination, policy, why)
                    return
        except SyncError as error:
            _fail(image, destination, error)

    def _size(self, tree: ImageTree) -> int | None:
        """Return the bytes of all blobs; None where a manifest lacks a size."""
        sizes = [blob.size for blob in blobs_to_bring(tree, self._settings.foreign_layers)]
        return sum(sizes) if all(size >= 0 for size in sizes) else None

    async def _refusal(self, policy: Policy, checked: _CheckedImage) -> str | None:
        """Return why `policy` refuses the image whatever its destination; None where it does not."""
        source, tree, size = checked.source, checked.tree, checked.size
        if policy.require and not _belongs_to_another(source.tag, tree):
            lacking = await self._search.find_lacking(source.repository, checked.selected, policy.require)
            if lacking:
                return f"the image has no {lacking[0]}"
        if policy.max_bytes is not None:
            if size is None:
                return "the image does not say how large it is"
            if size > policy.max_bytes:
                return f"the image has {format_size(size)}, and may have {format_size(policy.max_bytes)}"
        if policy.max_age_s is None:
            return None
        created = await self._times.of_image(source.repository, tree.manifest)
        if created is None:
            return "the image does not say when it was created"
        age_s = self._began_at - created
        if age_s <= policy.max_age_s:
            return None
        return f"the image was created {format_age(age_s)} ago, and {format_age(policy.max_age_s)} are allowed"

    def _question(self, checked: _CheckedImage, destination: Reference, there: Digest | None) -> dict[str, Any]:
        root = checked.tree.manifest
        described = describe_referrer(root)
        return {
            "version": QUESTION_VERSION,
            "source": _place(checked.source),
            "destination": _place(destination),
            "digest": str(root.digest),
            "source_digest": str(checked.selected.source_digest),
            "replaced_digest": None if there is None else str(there),
            "media_type": root.media_type,
            "artifact_type": described.artifact_type,
            "platforms": _platforms(checked.tree),
            "annotations": described.annotations,
            "bytes": checked.size,
            "dry_run": self._settings.dry_run,
        }


class _CheckedImage(Struct):
    """One image under check. `refusals` are found once for all its destinations."""

    source: Reference
    selected: Selected
    tree: ImageTree
    size: int | None
    refusals: dict[Policy, asyncio.Task[str | None]] = field(default_factory=dict)


def _belongs_to_another(tag: str | None, tree: ImageTree) -> bool:
    """Return whether it is a signature, an SBOM or a list of them, which nothing signs, by its tag. A manifest with
    files of a container is an image, whatever its tag.
    """
    return tag is not None and is_attached_tag(tag) and not any(map(_holds_files, tree.publish_order()))


def _holds_files(manifest: Manifest) -> bool:
    if manifest.kind is ManifestKind.SCHEMA1:
        return True
    return any(layer.media_type.startswith(_FILE_SYSTEMS) for layer in manifest.layers)


def _platforms(tree: ImageTree) -> list[str]:
    """Return the platforms in the indexes, without the "unknown" of BuildKit's attestations."""
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
    image.fail_delivery(destination, error.located(operation="ask the policy"))


class PolicyError(SyncError):
    """A policy refuses an image, or could not be asked, which counts as a refusal."""

    kind = "refused by policy"


async def ask_program(command: PolicyCommand, question: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Return the reason for which the program refuses the image in `question`; None where it allows it.

    Exit code 0 is yes, 1 is no. Raises PolicyError for anything else.
    """
    program = Path(command.words[0]).name
    names = (*_PASSED_ON, *command.environment)
    try:
        process = await asyncio.create_subprocess_exec(
            *command.words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: environ[name] for name in names if name in environ},
            start_new_session=True,  # Ctrl-C is for us, and what it starts can be ended with it
        )
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"the policy's program {program} cannot be started: {getattr(error, 'strerror', None) or error}",
            hint="Nothing goes out that it was not asked about: see `command` of the policy.",
        ) from None
    said: tuple[bytes, bytes] | None = None
    try:
        said = await asyncio.wait_for(_talk(process, orjson.dumps(question)), command.timeout_s)
    except asyncio.TimeoutError:
        raise PolicyError(
            f"the policy's program {program} did not answer within {command.timeout_s:g} s",
            hint="Give it more time with `timeout` of the policy, or see what it waits for.",
        ) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    code = await process.wait()
    if said is None or len(said[0]) > MAX_OUTPUT_BYTES:
        raise PolicyError(f"the policy's program {program} wrote more than {MAX_OUTPUT_BYTES:,} bytes")
    if code == 0:
        return None
    if code == _REFUSED:
        return _line(said[0]) or "it gave no reason"
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    why = f": {line}" if (line := _line(said[1])) else ""
    raise PolicyError(
        f"the policy's program {program} failed ({how}){why}",
        hint="It answers with exit code 0 (yes) or 1 (no); anything else counts as no.",
    )


async def _talk(process: asyncio.subprocess.Process, question: bytes) -> tuple[bytes, bytes]:
    """Return standard output and standard error of `process`, each with one byte past the bound at most."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = (bytearray(), bytearray())
    readers = [
        asyncio.ensure_future(_read(stream, output))
        for stream, output in zip((process.stdout, process.stderr), outputs, strict=True)
    ]
    try:
        # It may answer without reading; a transport of uvloop that is closed by then raises RuntimeError.
        with suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
            process.stdin.write(question)
            await process.stdin.drain()
            process.stdin.close()
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait([ended, readers[0]], return_when=asyncio.FIRST_COMPLETED)
            if len(outputs[0]) <= MAX_OUTPUT_BYTES:
                await ended
                await asyncio.wait(readers, timeout=_LEFT_OPEN_S)
        finally:
            ended.cancel()
    finally:
        for reader in readers:
            reader.cancel()
    return bytes(outputs[0]), bytes(outputs[1])


async def _read(stream: asyncio.StreamReader, output: bytearray) -> None:
    while len(output) <= MAX_OUTPUT_BYTES and (chunk := await stream.read(_CHUNK_BYTES)):
        output += chunk


def _line(output: bytes) -> str:
    """Return the first line that is not empty, without secrets and control characters."""
    lines = (line.strip() for line in output.decode("utf-8", "replace").splitlines())
    text = visible(redact(next((line for line in lines if line), "")))
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
