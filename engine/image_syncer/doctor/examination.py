"""The examination: every probe in its order. What stands on something that is broken is not tried; time is bounded.

What is to be examined: a registry by its host, or one of its repositories, perhaps with a tag or a digest.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import uvloop

from image_syncer.config import RegistryBook, Settings
from image_syncer.doctor.access import probe_challenge, probe_clock, probe_credential, probe_login, probe_ping
from image_syncer.doctor.addresses import probe_addresses, probe_listening, probe_way
from image_syncer.doctor.certificates import probe_certificate, probe_tls
from image_syncer.doctor.check import Check, CheckState, failed
from image_syncer.doctor.examined import Subject
from image_syncer.doctor.kinds import probe_profile
from image_syncer.doctor.reading import (
    probe_blob,
    probe_catalog,
    probe_manifest_get,
    probe_manifest_head,
    probe_mirrors,
    probe_range,
    probe_tags,
)
from image_syncer.doctor.rights import probe_push, probe_scopes
from image_syncer.doctor.writing import Writing
from image_syncer.errors import ConfigurationError, Problem, SyncError
from image_syncer.oci import InvalidReference, canonical_registry, is_place, parse_reference
from image_syncer.units import format_duration
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Examination", "examine", "parse_subject"]


_HOST_ALONE = re.compile(r"(?:localhost|[^/@:]*\.[^/@:]*|\[[^/]*\])(?::[0-9]+)?|[^/@:]+:[0-9]{2,5}")
"""Without a slash: what has a dot before its colon, or a port after it, is a host, and everything else an image of
Docker Hub, as it is everywhere.
"""


def parse_subject(text: str, *, write: bool = False) -> tuple[str, str | None, str | None]:
    """Registry, the name of the repository (None for the registry as a whole), and tag or digest (None: none named).

    "registry.example" and "registry:5000" are hosts, "nginx" and "nginx:1.27" images of Docker Hub; a slash at the end
    makes a host of any word. Raises ConfigurationError.
    """
    given = text.strip()
    if is_place(given):
        what, mend = f"{given} is no registry, and has no network to look at", "copy says what is wrong with it"
        raise ConfigurationError([Problem("command line", None, "HOST[/REPO]", what, mend)])
    try:
        if given.endswith("/") or _HOST_ALONE.fullmatch(given):
            registry, name, target = canonical_registry(given.rstrip("/")), None, None
        else:
            reference = parse_reference(given)
            registry, name = reference.repository.registry, reference.repository.name
            target = reference.digest or reference.tag
    except InvalidReference as error:
        problem = Problem("command line", None, "HOST[/REPO]", str(error), None)
        raise ConfigurationError([problem]) from None
    if write and name is None:
        what = f"--write needs a repository to write to, and {text!r} is a registry"
        raise ConfigurationError([Problem("command line", None, "HOST[/REPO]", what, f"write {registry}/REPO")])
    return registry, name, target


LONGEST_S = 300.0
"""A whole examination, where the settings name no deadline: somebody waits for it."""
CLEAN_UP_S = 30.0
"""For taking away what was written, which is tried even when the time is over; a little more than `writing` takes."""


class Examination(Value, frozen=True):
    """What `examine` found: every check, in order. `subject` is what was examined, `seconds` how long it took."""

    subject: str
    checks: tuple[Check, ...]
    seconds: float
    write: bool = False

    @property
    def failures(self) -> tuple[Check, ...]:
        """What is broken; what was not tried because of it is left out."""
        return tuple(check for check in self.checks if check.state is CheckState.FAILED)

    @property
    def exit_code(self) -> int:
        """1 where something is broken or was not tried, else 0."""
        return int(any(check.is_broken for check in self.checks))

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "subject": self.subject,
            "write": self.write,
            "healthy": self.exit_code == 0,
            "seconds": round(self.seconds, 3),
            "checks": [check.as_data() for check in self.checks],
        }


class _Probe(Value, frozen=True):
    """`needs` are the checks that must not be broken; `of_repository` says that a repository must be named; one that is
    not `timed` looks at what another has learnt.
    """

    name: str
    run: Callable[[Subject], Awaitable[Check]]
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
_CLEAN_UP = "clean up"


def examine(
    subject: str,
    registries: RegistryBook | None = None,
    settings: Settings | None = None,
    *,
    write: bool = False,
    on_check: Callable[[Check], None] | None = None,
) -> Examination:
    """Look at a registry, or at one repository of it, from its name to the last byte, as a run would meet it.

    `subject` is "registry.example", "registry.example/team/app" or "nginx:1.27"; `registries` are the entries of the
    auth file. With `write`, small blobs, a tag and their deletion are tried in the repository, which then must be
    named. Of `settings` the time-outs count, and `deadline_s` for the whole. `on_check` is told each check when it has
    ended. Every request goes out once. Runs a loop of its own in the calling thread. What is broken is in the result;
    raises ConfigurationError where `subject` or a file cannot be used.
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
    """One examination under way."""

    def __init__(self, examined: Subject, longest_s: float, on_check: Callable[[Check], None] | None) -> None:
        self._examined = examined
        self._on_check = on_check
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._longest_s = longest_s
        self._ended_by = self._began + longest_s
        self._checks: dict[str, Check] = {}

    async def execute(self) -> Examination:
        """Every probe; with `write` those that write too, and then the clean-up, come what may."""
        examined = self._examined
        for probe in _PROBES:
            await self._try(probe)
        if examined.repository is not None and examined.registries.mirrors_of(examined.repository):
            await self._try(_Probe("mirrors", probe_mirrors, timed=False))
        if examined.write:
            writing = Writing(examined)
            try:
                for probe in _writing_probes(writing):
                    await self._try(probe)
            finally:
                self._ended_by = max(self._ended_by, self._loop.time() + CLEAN_UP_S)
                await self._try(_Probe(_CLEAN_UP, lambda _examined: writing.clean_up()))
        await self._try(_Probe("kind", probe_profile, ("ping",), timed=False))
        subject = str(examined.repository or examined.registry)
        checks = tuple(self._checks.values())
        return Examination(subject, checks, self._loop.time() - self._began, examined.write)

    async def _try(self, probe: _Probe) -> None:
        began = time.perf_counter()
        check = self._not_wanted(probe) or await self._run(probe)
        took = time.perf_counter() - began
        if probe.timed and check.state not in _UNTIMED:
            check = replace(check, seconds=took)
        check = replace(check, name=probe.name)
        self._checks[probe.name] = check
        if self._on_check is not None:
            self._on_check(check)

    async def _run(self, probe: _Probe) -> Check:
        left_s = self._ended_by - self._loop.time()
        if left_s <= 0:
            what = f"the {format_duration(self._longest_s)} for the whole examination were over"
            return Check("", CheckState.NOT_TRIED, what)
        try:
            return await asyncio.wait_for(probe.run(self._examined), left_s)
        except asyncio.TimeoutError:
            text = f"no end after {format_duration(left_s)}, when the time for the whole examination was over"
            return failed(text, "The registry, or the way to it, is too slow or silent.")
        except SyncError as error:
            return failed(error)

    def _not_wanted(self, probe: _Probe) -> Check | None:
        if probe.of_repository and self._examined.repository is None:
            return Check("", CheckState.SKIPPED, "no repository was named: give HOST/REPO")
        broken = next((need for need in probe.needs if self._checks[need].is_broken), None)
        if broken is None:
            return None
        return Check("", CheckState.NOT_TRIED, f"it stands on: {broken}")


_UNTIMED = (CheckState.NOT_TRIED, CheckState.SKIPPED)


def _writing_probes(writing: Writing) -> tuple[_Probe, ...]:
    def probe(name: str, run: Callable[[], Awaitable[Check]], *needs: str) -> _Probe:
        return _Probe(name, lambda _examined: run(), needs)

    return (
        probe("upload", writing.put_small, "push"),
        probe("upload of 1 MiB", writing.put_large, "upload"),
        probe("blob HEAD", writing.head_blob, "upload of 1 MiB"),
        probe("upload as a stream", writing.stream, "upload"),
        probe("upload in pieces", writing.pieces, "upload"),
        probe("upload in one POST", writing.single_post, "upload"),
        probe("mount", writing.mount, "upload"),
        probe("giving up", writing.cancel, "upload"),
        probe("manifest PUT", writing.put_manifest, "upload of 1 MiB"),
    )
