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
_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int, float),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "None": (type(None),),
}
_MOST = 2**63
"""No counter is larger."""


def snapshot_data(snapshot: Snapshot) -> dict[str, Any]:
    """What JSON can say of `snapshot`: the names are those of its fields."""
    data = asdict(snapshot)
    data["outcomes"] = {str(outcome): count for outcome, count in snapshot.outcomes.items()}
    return data


def snapshot_from_data(data: Mapping[str, Any]) -> Snapshot:
    """The reverse. Raises ValueError, TypeError, KeyError or AttributeError where `data` is none: whoever listens at a
    socket may say anything.
    """
    known = _known(Snapshot, data)
    known["outcomes"] = {Outcome(name): _checked("int", count) for name, count in data.get("outcomes", {}).items()}
    known["stuck"] = tuple(map(str, data.get("stuck", ())))
    for name, row in _ROWS:
        known[name] = tuple(row(**_known(row, one)) for one in data.get(name, ()))
    return Snapshot(**known)


def _known(kind: type[_Row], data: Mapping[str, Any]) -> dict[str, Any]:
    types = {field.name: str(field.type) for field in fields(kind)}
    return {name: _checked(types[name], value) for name, value in data.items() if name in types}


def _checked(type_name: str, value: Any) -> Any:
    """`value` where it is of the plain type of that name, as a field is annotated, or where that is not a plain one.
    Raises TypeError, or ValueError for numbers that nothing has so many of.
    """
    names = type_name.split(" | ")
    if not set(names) <= _PLAIN.keys():
        return value
    if type(value) not in {kind for name in names for kind in _PLAIN[name]}:
        raise TypeError(f"{value!r:.40} is no {type_name}")
    if isinstance(value, (int, float)) and not abs(value) <= _MOST:
        raise ValueError(f"{value!r:.40} is more than there can be")
    return value
