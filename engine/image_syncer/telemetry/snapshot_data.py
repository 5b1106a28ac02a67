"""Snapshots as plain data, for other processes, and back. What the other side does not know, it leaves out."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.progress import RegistryRow, Snapshot, TransferRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["snapshot_data", "snapshot_from_data"]

_Row = TypeVar("_Row", RegistryRow, Snapshot, TransferRow, WorkerRow)
_ROWS: tuple[tuple[str, type[Any]], ...] = (
    ("slowest", TransferRow),
    ("registries", RegistryRow),
    ("workers", WorkerRow),
)


def snapshot_data(snapshot: Snapshot) -> dict[str, Any]:
    """What JSON can say of `snapshot`: the names are those of its fields."""
    data = asdict(snapshot)
    data["outcomes"] = {str(outcome): count for outcome, count in snapshot.outcomes.items()}
    return data


def snapshot_from_data(data: Mapping[str, Any]) -> Snapshot:
    """The reverse. Raises ValueError, TypeError or KeyError where `data` is none."""
    known = _known(Snapshot, data)
    known["outcomes"] = {Outcome(name): count for name, count in data.get("outcomes", {}).items()}
    known["stuck"] = tuple(map(str, data.get("stuck", ())))
    for name, row in _ROWS:
        known[name] = tuple(row(**_known(row, one)) for one in data.get(name, ()))
    return Snapshot(**known)


def _known(kind: type[_Row], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
