"""Runs of the whole engine between embedded registries: what was asked for, what came out, and what every run owes.

Whatever a test is about, each run is checked for the same promises: one outcome for every image, an exit code that
follows, failures that a stranger can act on, no secret anywhere, and no tag over missing parts at a destination.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from image_syncer import verify
from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.embedded import Behaviour, ContentBuilder, push_to, serve_in_thread
from image_syncer.errors import SyncError
from image_syncer.oci import Digest, Repository
from image_syncer.registry import Credential
from image_syncer.runs import sync
from image_syncer.telemetry import Outcome, configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from image_syncer.config.policy import Policy
    from image_syncer.embedded import CounterValues, EmbeddedRegistry, MadeManifest, Storage
    from image_syncer.telemetry import ImageResult, Report, Snapshot

REPOSITORY = "team/app"
TAG = "v1"
MOST_MESSAGE_LINES = 3
USER, PASSWORD = "robot", "hunter2hunter2"
TRUSTING = Behaviour(check_references=False)
"""A registry that takes every manifest: only the order of the engine keeps its tags whole."""

_SECRETS = re.compile(rf"{PASSWORD}|(?:Bearer|Basic) [\w+/=-]{{8,}}|X-Signature=|_state=")
_MISTAKES_OF_OURS = ("worker crashed", "worker lost", "Traceback", "never retrieved", "Task was destroyed")


@dataclass
class Done:
    """What a run did. `images` are the results as they came, `document` the JSON report, `log` everything logged."""

    report: Report
    images: list[ImageResult]
    document: dict[str, Any]
    log: str
    _counters: dict[str, CounterValues]

    @property
    def outcomes(self) -> list[str]:
        """The outcomes, sorted."""
        return sorted(image.outcome.value for image in self.images)

    @property
    def image(self) -> ImageResult:
        """The one image of the run."""
        [image] = self.images
        return image

    @property
    def failure(self) -> ImageResult:
        """The one image that failed."""
        [image] = [image for image in self.images if image.outcome is Outcome.FAILED]
        return image

    @property
    def error(self) -> SyncError:
        """The error of the one image that failed."""
        return error_of(self.failure)

    def at(self, registry: EmbeddedRegistry) -> CounterValues:
        """What `registry` counted during the run."""
        return self._counters[registry.address]


class SyncLab:
    """A source, a destination, further registries on request, and runs of the engine between them."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self.report_path = directory / "report.json"
        self._entries: dict[str, RegistryEntry] = {}
        self._pushed: list[tuple[EmbeddedRegistry, str, str]] = []
        self.registries: list[EmbeddedRegistry] = []
        self.content = ContentBuilder(seed=7)
        self.source = self.add_registry()
        self.destination = self.add_registry(TRUSTING)

    def add_registry(self, behaviour: Behaviour | None = None) -> EmbeddedRegistry:
        """One more registry, in plain HTTP, without a credential."""
        registry = self._stack.enter_context(serve_in_thread(behaviour=behaviour))
        self.registries.append(registry)
        self.enter(registry)
        return registry

    def enter(self, registry: EmbeddedRegistry, credential: Credential | None = None, **settings: Any) -> None:
        """Write an entry for `registry` into the configuration, in place of the one that it had."""
        self._entries[registry.address] = RegistryEntry(registry.address, credential, insecure=True, **settings)

    def log_in(self, *registries: EmbeddedRegistry, password: str = PASSWORD) -> None:
        """Write a credential for each of `registries` into the configuration."""
        for registry in registries:
            self.enter(registry, Credential(USER, password))

    def push(
        self,
        manifest: MadeManifest,
        repository: str = REPOSITORY,
        tags: Sequence[str] = (TAG,),
        *,
        to: EmbeddedRegistry | None = None,
    ) -> MadeManifest:
        """Put an image into the source, or `to` another registry, without a request."""
        registry = to or self.source
        push_to(registry.storage, repository, manifest, tags)
        self._pushed += [(registry, repository, tag) for tag in tags]
        return manifest

    def image(self, layers: int = 2, repository: str = REPOSITORY, **how: Any) -> MadeManifest:
        """An image in the source under one tag; its blobs are `layers` and a config."""
        return self.push(self.content.image(layers, **how), repository)

    def rule(
        self,
        repository: str = REPOSITORY,
        tags: Sequence[str] | TagSelection = (TAG,),
        *,
        origin: EmbeddedRegistry | None = None,
        to: Iterable[tuple[EmbeddedRegistry, str]] = (),
        digest: str | None = None,
        **fields: Any,
    ) -> Rule:
        """From a repository of the source (or `origin`) to the one of the same name at the destination (or `to`)."""
        targets = list(to) or [(self.destination, repository)]
        selection = tags if isinstance(tags, TagSelection) else TagSelection(names=tuple(tags))
        if digest is not None:
            selection = TagSelection(digest=Digest(digest))
        return Rule(
            Repository((origin or self.source).address, repository),
            selection,
            tuple(Destination(Repository(registry.address, name)) for registry, name in targets),
            **fields,
        )

    def run(
        self,
        *rules: Rule,
        exit_code: int | None = 0,
        on_progress: Callable[[Snapshot], None] | None = None,
        on_image: Callable[[ImageResult], None] = lambda _image: None,
        policies: Sequence[Policy] = (),
        **settings: Any,
    ) -> Done:
        """Sync by `rules`, or everything that was pushed to the source, and hold the run to its promises."""
        rules = rules or self._all_rules()
        registries = RegistryBook(list(self._entries.values()))
        configuration = Configuration(rules, registries, policies=tuple(policies))
        before = {registry.address: registry.counters.values() for registry in self.registries}
        images: list[ImageResult] = []
        log = io.StringIO()
        configure_logging(log_format="json", level="debug", stream=log)
        report = sync(
            configuration,
            replace(Settings(workers=1, connect_timeout_s=5.0, report_path=str(self.report_path)), **settings),
            on_progress=on_progress,
            on_image=lambda image: (images.append(image), on_image(image)),
        )
        text = self.report_path.read_text(encoding="utf-8")
        counted = {
            registry.address: registry.counters.values().minus(before[registry.address]) for registry in self.registries
        }
        done = Done(report, images, json.loads(text), log.getvalue(), counted)
        sources = {rule.source.registry for rule in rules}
        self._check(done, text, [registry for registry in self.registries if registry.address not in sources])
        assert exit_code is None or report.exit_code == exit_code, [image.reason for image in images]
        return done

    def verify(
        self,
        *rules: Rule,
        deep: bool = False,
        exit_code: int = 0,
        policies: Sequence[Policy] = (),
        **settings: Any,
    ) -> Done:
        """Verify `rules`, or everything that was pushed to the source; nothing may be written anywhere."""
        registries = RegistryBook(list(self._entries.values()))
        configuration = Configuration(rules or self._all_rules(), registries, policies=tuple(policies))
        before = {registry.address: registry.counters.values() for registry in self.registries}
        images: list[ImageResult] = []
        log = io.StringIO()
        configure_logging(log_format="json", level="debug", stream=log)
        report = verify(
            configuration,
            replace(Settings(connect_timeout_s=5.0, report_path=str(self.report_path)), **settings),
            deep=deep,
            on_image=images.append,
        )
        text = self.report_path.read_text(encoding="utf-8")
        counted = {
            registry.address: registry.counters.values().minus(before[registry.address]) for registry in self.registries
        }
        done = Done(report, images, json.loads(text), log.getvalue(), counted)
        assert [image["outcome"] for image in done.document["images"]] == [image.outcome.value for image in images]
        assert (done.document["kind"], done.document["exit_code"]) == ("verify", report.exit_code)
        for values in counted.values():
            assert not any(values.count(name) for name in ("put manifest", "start upload", "put upload"))
        assert _SECRETS.findall(done.log + text) == []
        assert mistakes_of_ours(done.log) == []
        for image in images:
            if image.outcome is Outcome.UNCHECKED:
                check_message(error_of(image))
        assert report.exit_code == exit_code, [image.reason for image in images]
        return done

    def _all_rules(self) -> tuple[Rule, ...]:
        return tuple(self.rule(name, (tag,)) for at, name, tag in self._pushed if at is self.source)

    def assert_arrived(
        self,
        manifest: MadeManifest,
        repository: str = REPOSITORY,
        tag: str = TAG,
        *,
        at: EmbeddedRegistry | None = None,
    ) -> None:
        """The tag, every manifest under it and every blob are there, byte for byte."""
        storage = (at or self.destination).storage
        assert storage.tag(repository, tag) == manifest.digest
        for item in manifest.manifests():
            stored = storage.manifest(repository, item.digest)
            assert stored is not None
            assert storage.read_manifest(stored) == item.raw
            assert stored.media_type == item.media_type
        for blob in manifest.all_blobs():
            assert storage.read_blob(repository, blob.digest) == blob.read()

    def _check(self, done: Done, report_text: str, written: list[EmbeddedRegistry]) -> None:
        results = [(image.source, image.destination) for image in done.images]
        assert len(set(results)) == len(results) == done.report.totals.images
        assert [(image["source"], image["destination"]) for image in done.document["images"]] == results
        failed = [image for image in done.images if image.outcome is Outcome.FAILED]
        assert all(image.reason for image in done.images if image.outcome is Outcome.NOT_TRIED)
        code = 70 if done.report.internal_error else int(any(image.outcome.is_failure for image in done.images))
        assert done.document["exit_code"] == done.report.exit_code == code
        for image in failed:
            check_message(error_of(image))
        said = "\n".join([done.log, report_text, *(str(error_of(image)) for image in failed)])
        assert _SECRETS.findall(said) == []
        tokens = [token for registry in self.registries for token in registry._service.tokens._issued]
        assert [token for token in tokens if token in said] == []
        if done.report.internal_error is None:
            assert mistakes_of_ours(done.log) == []
        for registry in written:
            assert missing_parts(registry.storage) == []


def mistakes_of_ours(log: str) -> list[str]:
    """The lines of `log` that no registry and no network can be blamed for."""
    return [line for line in log.splitlines() if any(word in line for word in _MISTAKES_OF_OURS)]


def error_of(image: ImageResult) -> SyncError:
    """The error of a result that has one."""
    assert image.error is not None
    return SyncError.from_data(image.error)


def check_message(error: SyncError) -> None:
    """A stranger can act on it: short, and it says on which side and what it is about."""
    text = str(error)
    assert len(text.splitlines()) <= MOST_MESSAGE_LINES, text
    assert text.startswith(("source ", "destination ")), text
    assert error.repository is not None, text
    assert error.repository in text, text
    assert error.operation is not None, text
    assert (error.tries > 1) == ("(tried " in text), text
    assert error.reference or error.digest or error.operation == "list tags", text


def missing_parts(storage: Storage) -> list[str]:
    """What the tags of a registry promise, and what is not there or has other bytes; read without the engine."""
    found = []
    for name in storage.repositories():
        for tag in storage.tags(name):
            digest = storage.tag(name, tag)
            assert digest is not None
            found += [f"{name}:{tag}: {what}" for what in _missing_below(storage, name, digest)]
    return found


def _missing_below(storage: Storage, name: str, digest: Digest) -> list[str]:
    stored = storage.manifest(name, digest)
    if stored is None:
        return [f"manifest {digest}"]
    document = json.loads(storage.read_manifest(stored))
    found = [what for child in document.get("manifests", ()) for what in _missing_below(storage, name, child["digest"])]
    layers = [layer for layer in document.get("layers", ()) if not layer.get("urls")]
    blobs = [blob["digest"] for blob in filter(None, (document.get("config"), *layers))]
    for blob in (*blobs, *(layer["blobSum"] for layer in document.get("fsLayers", ()))):
        content = storage.read_blob(name, Digest(blob))
        algorithm, _, hexdigest = blob.partition(":")
        if content is None or hashlib.new(algorithm, content).hexdigest() != hexdigest:
            found.append(f"blob {blob}")
    return found
