"""Cells of the matrix, many in one run: each has an image and two doors of its own, and none is in another's way."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from image_syncer.config import Destination, RegistryEntry, Rule, TagSelection
from image_syncer.embedded import Behaviour, TokenService
from image_syncer.errors import SyncError
from image_syncer.oci import Repository
from image_syncer.registry import Credential
from image_syncer.telemetry import Outcome
from matrix.cells import OPENING, SOURCE_SIDE, TOKENS, Cell, Kind, Operation
from matrix.outcomes import Expected, expected
from matrix.plan import NOWHERE, Arranged, arrange, connect_action
from support.fault_proxy import Door, FaultProxy, run_fault_proxy
from support.sync_runs import PASSWORD, TAG, TRUSTING, USER, SyncLab, missing_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import MadeManifest
    from image_syncer.telemetry import ImageResult
    from support.certificates import Certificates

__all__ = ["Bench"]

LARGE_BYTES, SMALL_BYTES = 160_000, 3_000
SMALL_LIMIT = 16_384
STALL_S, PATIENT_S = 1.0, 3.0
"""What may be silent for so long: in runs whose cells are silent, and in those where only a busy machine is."""
WAIT_S, GIVE_UP_S, RETRY_S = 2.5, 5.0, 12.0
"""How long a registry that asks to be left alone is waited for, and one that is down; how long anything is tried again.
One that refuses for a moment is asked by probes, which come late on a busy machine."""
CONNECTIONS = 4
MOST_SECONDS = 60.0
"""Of a run, whatever its cells are: tries × time-outs, several after another in an image, on a busy machine."""
_STREAMED = frozenset(
    {
        Operation.GET_BLOB,
        Operation.PUT_UPLOAD,
        Operation.PATCH_UPLOAD,
        Operation.GET_UPLOAD,
        Operation.CANCEL_UPLOAD,
        Operation.START_UPLOAD,
    }
)


@dataclass
class _Trial:
    """One cell under way."""

    cell: Cell
    expected: Expected
    repository: str
    image: MadeManifest
    arranged: Arranged | None
    source: Door | None
    destination: Door | None
    source_address: str
    destination_address: str

    @property
    def own(self) -> Door | None:
        return self.source if self.cell.operation in SOURCE_SIDE else self.destination


class Bench:
    """A source and a destination behind a proxy, each in two forms: open to all, and with a token service."""

    def __init__(self, stack: ExitStack, directory: Path, certificates: Certificates) -> None:
        self._lab = SyncLab(stack, directory)
        self._proxy: FaultProxy = stack.enter_context(run_fault_proxy())
        self._certificates = certificates
        rights = Behaviour(users={USER: PASSWORD}, bearer=TokenService())
        trusting = Behaviour(users={USER: PASSWORD}, bearer=TokenService(), check_references=False)
        self._guarded_source = self._lab.add_registry(rights)
        self._guarded_destination = self._lab.add_registry(trusting)
        self._lab.source.behaviour, self._lab.destination.behaviour = Behaviour(), TRUSTING

    def run(self, cells: list[Cell], *, stall_s: float = STALL_S, **settings: Any) -> list[str]:
        """Try `cells` in one run; returns what is not as it has to be. `stall_s` is how long anything may be silent."""
        trials = [self._prepare(number, cell) for number, cell in enumerate(cells)]
        rules = [self._rule(trial) for trial in trials]
        given: dict[str, Any] = {
            "retries": 2,
            "workers": 2,
            "stall_timeout_s": stall_s,
            "answer_timeout_s": stall_s,
            "connect_timeout_s": stall_s,
            "longest_wait_s": WAIT_S,
            "give_up_after_s": GIVE_UP_S,
            "retry_for_s": RETRY_S,
            "small_bytes": SMALL_LIMIT,
            "window_bytes": 65_536,
            **settings,
        }
        done = self._lab.run(*rules, exit_code=None, **given)
        results = {image.destination.partition("/")[2].partition(":")[0]: image for image in done.images}
        problems = [
            f"{trial.cell}: {text}" for trial in trials for text in self._judge(trial, results.get(trial.repository))
        ]
        if done.report.seconds > MOST_SECONDS:
            problems.append(f"the run took {done.report.seconds:.0f} s")
        return problems

    def _prepare(self, number: int, cell: Cell) -> _Trial:
        repository = f"cell/{number}"
        size = LARGE_BYTES if cell.operation in _STREAMED else SMALL_BYTES
        image = self._lab.content.image(1, layer_bytes=size)
        layer = image.blobs[1]
        guarded = cell.operation in TOKENS or cell.kind is Kind.S401
        tls = self._certificates.server_context() if cell.kind is Kind.TLS_ALERT else None
        behind = (
            (self._guarded_source, self._guarded_destination) if guarded else (self._lab.source, self._lab.destination)
        )
        self._lab.push(image, repository, to=behind[0])
        at_source = cell.operation in SOURCE_SIDE
        nowhere = cell.kind is Kind.DNS_FAILURE and cell.operation in OPENING
        doors = [self._proxy.open_door(registry.address) for registry in behind]
        addresses = [door.address for door in doors]
        own = doors[0] if at_source else doors[1]
        if nowhere:
            addresses[0 if at_source else 1] = f"{number}{NOWHERE[len(str(number)) :]}"
        arranged = None
        if cell.operation not in OPENING:
            arranged = arrange(cell, layer, own.address)
            own.break_with(*arranged.own)
            (doors[1] if at_source else doors[0]).break_with(*arranged.other)
        else:
            action = connect_action(cell)
            if action is not None:
                own.break_connects(action, None if cell.lasting else 1 if tls else 2)
            if cell.kind is Kind.CONNECTION_LIMIT:
                own.most_connections = CONNECTIONS
        for door, address in zip(doors, addresses, strict=True):
            secure = tls is not None and door is own
            door.tls = tls if secure else None
            credential = Credential(USER, PASSWORD) if guarded else None
            self._lab._entries[address] = RegistryEntry(
                address,
                credential,
                insecure=not secure,
                ca_file=str(self._certificates.authority) if secure else None,
                max_connections=CONNECTIONS if cell.kind is Kind.CONNECTION_LIMIT and door is own else None,
            )
        wanted = expected(cell)
        assert wanted is not None
        return _Trial(cell, wanted, repository, image, arranged, doors[0], doors[1], addresses[0], addresses[1])

    def _rule(self, trial: _Trial) -> Rule:
        listing = trial.cell.operation is Operation.LIST_TAGS
        return Rule(
            Repository(trial.source_address, trial.repository),
            TagSelection() if listing else TagSelection(names=(TAG,)),
            (Destination(Repository(trial.destination_address, trial.repository)),),
        )

    def _judge(self, trial: _Trial, result: ImageResult | None) -> Iterator[str]:
        """What is not as it has to be."""
        wanted = trial.expected
        if result is None:
            yield "no result"
            return
        error = SyncError.from_data(result.error) if result.error is not None else None
        own = trial.own
        if trial.arranged is not None and own is not None and not own.strikes.struck[trial.arranged.sign]:
            yield f"the fault never struck ({result.outcome.value}; {dict(own.requests)}) {error}"
        if result.outcome is Outcome.COPIED:
            if wanted.kinds and not wanted.may_arrive:
                yield f"arrived, expected: {wanted}"
            yield from self._arrived(trial)
            return
        if error is None:
            yield f"{result.outcome.value}: {result.reason}"
            return
        if not wanted.kinds:
            yield f"failed: {error.kind}: {error} {dict(own.requests) if own else ''}"
            return
        if error.kind not in wanted.kinds:
            yield f"failed with another error, {error.kind}: {error}"
        if error.origin is not wanted.origin:
            yield f"on the other side: {error.origin}: {error}"
        if error.operation is None:
            yield f"without an operation: {error}"

    def _arrived(self, trial: _Trial) -> Iterator[str]:
        guarded = trial.cell.operation in TOKENS or trial.cell.kind is Kind.S401
        registry = self._guarded_destination if guarded else self._lab.destination
        try:
            self._lab.assert_arrived(trial.image, trial.repository, at=registry)
        except AssertionError as error:
            yield f"it is not there as it was: {error}"
        if missing_parts(registry.storage):
            yield "the destination has holes"
