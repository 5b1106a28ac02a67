"""The examination of a registry: every probe in its order, within a time limit."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import uvloop

from image_syncer.config import RegistryBook, Settings
from image_syncer.doctor.access import (
    probe_challenge,
    probe_clock,
    probe_credential,
    probe_login,
    probe_ping,
    probe_push,
    probe_scopes,
)
from image_syncer.doctor.checks import Check, CheckState, Subject, failed, probe_profile
from image_syncer.doctor.network import probe_addresses, probe_certificate, probe_listening, probe_tls, probe_way
from image_syncer.doctor.reading import (
    probe_blob,
    probe_catalog,
    probe_manifest_get,
    probe_manifest_head,
    probe_mirrors,
    probe_range,
    probe_tags,
)
from image_syncer.doctor.writing import Writing
from image_syncer.errors import ConfigurationError, Problem, SyncError
from image_syncer.oci import InvalidReference, canonical_registry, is_place, parse_reference
from image_syncer.patterns import lazy_pattern
from image_syncer.units import format_duration
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


_HOST_ALONE = lazy_pattern(r"(?:localhost|[^/@:]*\.[^/@:]*|\[[^/]*\])(?::[0-9]+)?|[^/@:]+:[0-9]{2,5}")
"""Without a slash, a name with a dot before its colon, or with a port, is a host; others are images of Docker Hub."""
LONGEST_S = 300.0
"""The limit of an examination without a deadline in the settings."""
CLEAN_UP_S = 30.0
"""For the deletions, even after the limit; a little more than `writing` takes."""
_UNTIMED = (CheckState.NOT_TRIED, CheckState.SKIPPED)


def parse_subject(text: str, *, write: bool = False) -> tuple[str, str | None, str | None]:
    """Return the registry, the repository (None: the whole registry), and the tag or digest, or None.

    "registry.example" and "registry:5000" are hosts, "nginx" and "nginx:1.27" images of Docker Hub; a word with a
    slash at the end is a host. Raises ConfigurationError.
    """
    given = text.strip()
    if is_place(given):
        what, mend = f"{given} is no registry, and has no network to look at", "copy says what is wrong with it"
        raise _misuse(what, mend)
    try:
        if given.endswith("/") or _HOST_ALONE.fullmatch(given):
            registry, name, target = canonical_registry(given.rstrip("/")), None, None
        else:
            reference = parse_reference(given)
            registry, name = reference.repository.registry, reference.repository.name
            target = reference.digest or reference.tag
    except InvalidReference as error:
        raise _misuse(str(error), None) from None
    if write and name is None:
        what = f"--write needs a repository to write to, and {text!r} is a registry"
        raise _misuse(what, f"write {registry}/REPO")
    return registry, name, target


def _misuse(what: str, mend: str | None) -> ConfigurationError:
    return ConfigurationError([Problem("command line", None, "HOST[/REPO]", what, mend)])


class Examination(Value, frozen=True):
    """The result of `examine`: the subject, every check in order, and the duration in seconds."""

    subject: str
    checks: tuple[Check, ...]
    seconds: float
    write: bool = False

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks, without those that were not tried because of them."""
        return tuple(check for check in self.checks if check.state is CheckState.FAILED)

    @property
    def exit_code(self) -> int:
        """1 if a check failed or was not tried, else 0."""
        return int(any(check.is_broken for check in self.checks))

    def as_data(self) -> dict[str, Any]:
        """Return plain data for programs."""
        return {
            "subject": self.subject,
            "write": self.write,
            "healthy": self.exit_code == 0,
            "seconds": round(self.seconds, 3),
            "checks": [check.as_data() for check in self.checks],
        }


class _Probe(Value, frozen=True):
    """A probe that runs if the checks it `needs` are not broken; with `of_repository`, it needs a repository.

    `run` gets the subject or, where it writes, the `Writing`. One without `timed` only evaluates what another has
    learnt.
    """

    name: str
    run: Callable[[Any], Awaitable[Check]]
    needs: tuple[str, ...] = ()
    of_repository: bool = False
    timed: bool = True


_PROBES = (
    _Probe("proxy", probe_way),
    _Probe("DNS", probe_addresses),
    _Probe("TCP", probe_listening, ("DNS",)),
    _Probe("TLS", probe_tls, ("proxy", "TCP"), timed=False),
    _Probe("certificate", probe_certificate, ("TLS",), timed=False),
    _Probe("ping", probe_ping, ("proxy", "certificate")),
    _Probe("clock", probe_clock, ("ping",), timed=False),
    _Probe("challenge", probe_challenge, ("ping",), timed=False),
    _Probe("credential", probe_credential),
    _Probe("login", probe_login, ("challenge", "credential")),
    _Probe("scopes", probe_scopes, ("login",)),
    _Probe("catalog", probe_catalog, ("login",)),
    _Probe("tags", probe_tags, ("login",), of_repository=True),
    _Probe("manifest HEAD", probe_manifest_head, ("tags",), of_repository=True),
    _Probe("manifest GET", probe_manifest_get, ("tags",), of_repository=True),
    _Probe("blob", probe_blob, ("manifest GET",), of_repository=True),
    _Probe("range", probe_range, ("manifest GET",), of_repository=True),
    _Probe("push", probe_push, ("login",), of_repository=True),
)
_WRITING_PROBES = (
    _Probe("upload", Writing.put_small, ("push",)),
    _Probe("upload of 1 MiB", Writing.put_large, ("upload",)),
    _Probe("blob HEAD", Writing.head_blob, ("upload of 1 MiB",)),
    _Probe("upload as a stream", Writing.stream, ("upload",)),
    _Probe("upload in pieces", Writing.pieces, ("upload",)),
    _Probe("upload in one POST", Writing.single_post, ("upload",)),
    _Probe("mount", Writing.mount, ("upload",)),
    _Probe("giving up", Writing.cancel, ("upload",)),
    _Probe("manifest PUT", Writing.put_manifest, ("upload of 1 MiB",)),
)
_MIRRORS = _Probe("mirrors", probe_mirrors, timed=False)
_CLEAN_UP = _Probe("clean up", Writing.clean_up)
_KIND = _Probe("kind", probe_profile, ("ping",), timed=False)


def examine(
    subject: str,
    registries: RegistryBook | None = None,
    settings: Settings | None = None,
    *,
    write: bool = False,
    on_check: Callable[[Check], None] | None = None,
) -> Examination:
    """Examine a registry, or one repository of it, with the requests of a run, from its name to the last byte.

    `subject` is "registry.example", "registry.example/team/app" or "nginx:1.27"; `registries` are the entries of the
    auth file. With `write`, which needs a repository, small blobs and a tag are written and deleted. Of `settings`, the
    timeouts count, and `deadline_s` for the examination. `on_check` gets each check when it has ended. Requests are not
    repeated. Runs its own event loop in the calling thread. Broken checks are in the result; raises ConfigurationError
    if `subject` or a file cannot be used.
    """
    registry, name, target = parse_subject(subject, write=write)
    entries, settings = registries or RegistryBook(), settings or Settings()

    async def run() -> Examination:
        examined = Subject(registry, name, target, entries, settings, write=write)
        try:
            return await _Round(examined, settings.deadline_s or LONGEST_S, on_check).execute()
        finally:
            await examined.close()

    return uvloop.run(run())


class _Round:
    """A running examination."""

    def __init__(self, subject: Subject, longest_s: float, on_check: Callable[[Check], None] | None) -> None:
        self._subject = subject
        self._on_check = on_check
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._longest_s = longest_s
        self._ended_by = self._began + longest_s
        self._checks: dict[str, Check] = {}

    async def execute(self) -> Examination:
        """Run every probe, with `write` also those that write, and then the clean-up in any case."""
        subject = self._subject
        await self._try(subject, *_PROBES)
        if subject.repository is not None and subject.registries.mirrors_of(subject.repository):
            await self._try(subject, _MIRRORS)
        if subject.write:
            writing = Writing(subject)
            try:
                await self._try(writing, *_WRITING_PROBES)
            finally:
                self._ended_by = max(self._ended_by, self._loop.time() + CLEAN_UP_S)
                await self._try(writing, _CLEAN_UP)
        await self._try(subject, _KIND)
        name, seconds = str(subject.repository or subject.registry), self._loop.time() - self._began
        return Examination(name, tuple(self._checks.values()), seconds, subject.write)

    async def _try(self, of: Subject | Writing, *probes: _Probe) -> None:
        for probe in probes:
            began = time.perf_counter()
            check = self._not_wanted(probe) or await self._run(probe, of)
            took = time.perf_counter() - began
            if probe.timed and check.state not in _UNTIMED:
                check = replace(check, seconds=took)
            check = self._checks[probe.name] = replace(check, name=probe.name)
            if self._on_check is not None:
                self._on_check(check)

    async def _run(self, probe: _Probe, of: Subject | Writing) -> Check:
        left_s = self._ended_by - self._loop.time()
        if left_s <= 0:
            what = f"the {format_duration(self._longest_s)} for the whole examination were over"
            return Check("", CheckState.NOT_TRIED, what)
        try:
            return await asyncio.wait_for(probe.run(of), left_s)
        except asyncio.TimeoutError:
            text = f"no end after {format_duration(left_s)}, when the time for the whole examination was over"
            return failed(text, "The registry, or the way to it, is too slow or silent.")
        except SyncError as error:
            return failed(error)

    def _not_wanted(self, probe: _Probe) -> Check | None:
        if probe.of_repository and self._subject.repository is None:
            return Check("", CheckState.SKIPPED, "no repository was named: give HOST/REPO")
        broken = next((need for need in probe.needs if self._checks[need].is_broken), None)
        if broken is None:
            return None
        return Check("", CheckState.NOT_TRIED, f"it depends on: {broken}")
