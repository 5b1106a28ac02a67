"""How values are defined: as `msgspec.Struct`, which costs a twentieth of a dataclass to define and a seventh to make.

    class Job(Value, frozen=True):
        digest: str
        size: int = -1

A `Value` is immutable, compared and hashed by its fields, and taken for a dataclass by `dataclasses.replace`, `fields`
and `asdict`. State that changes is a plain `msgspec.Struct`. `frozen=True` is repeated in each definition, because
type checkers do not inherit it.
"""

from __future__ import annotations

import dataclasses
from inspect import Parameter, Signature, get_annotations
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Value", "as_dict", "replace", "repr_without"]

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class _DataclassFields:
    """The attribute by which the module `dataclasses` knows a dataclass, made when it is asked for."""

    def __get__(self, _instance: object, owner: type[msgspec.Struct]) -> dict[str, dataclasses.Field[Any]]:
        annotations = {name: kind for cls in reversed(owner.__mro__) for name, kind in get_annotations(cls).items()}
        names, defaults = owner.__struct_fields__, owner.__struct_defaults__
        first_default = len(names) - len(defaults)
        return {
            name: _dataclass_field(
                name, annotations[name], defaults[at - first_default] if at >= first_default else msgspec.NODEFAULT
            )
            for at, name in enumerate(names)
        }


class _ValueMeta(msgspec.StructMeta):
    """Says the signature without evaluating annotations, whose names are often imported for type checkers only."""

    @property
    def __signature__(cls) -> Signature:  # noqa: N805 - its instances are classes
        fields: dict[str, dataclasses.Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
        positional: tuple[str, ...] = cls.__match_args__
        kinds = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        return Signature(
            [
                Parameter(name, kinds[name in positional], default=_shown_default(one), annotation=one.type)
                for name, one in fields.items()
            ]
        )


class Value(msgspec.Struct, frozen=True, metaclass=_ValueMeta):
    """The base of immutable values."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    else:
        __dataclass_fields__ = _DataclassFields()


def replace(value: _Struct, /, **changes: Any) -> _Struct:
    """A copy of `value` with other `changes`; raises TypeError for a name that is no field."""
    return msgspec.structs.replace(value, **changes)


def as_dict(value: msgspec.Struct) -> dict[str, Any]:
    """The fields of `value` by their names, each as it is; `dataclasses.asdict` goes into them."""
    return msgspec.structs.asdict(value)


def repr_without(*hidden: str) -> Callable[[Any], str]:
    """A `__repr__` that leaves out the fields `hidden`: secrets, and what is too long to read."""

    def represent(self: msgspec.Struct) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in hidden)
        return f"{type(self).__name__}({', '.join(shown)})"

    return represent


def _shown_default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return Parameter.empty if field.default_factory is dataclasses.MISSING else ...


def _dataclass_field(name: str, annotation: Any, default: Any) -> dataclasses.Field[Any]:
    field: Any
    factory = getattr(default, "factory", None) if type(default).__name__ == "Factory" else None
    if factory is not None:
        field = dataclasses.field(default_factory=factory)
    elif default is msgspec.NODEFAULT:
        field = dataclasses.field()
    else:
        field = dataclasses.field(default=default)
    field.name, field.type, field._field_type = name, annotation, dataclasses._FIELD  # type: ignore[attr-defined] # noqa: SLF001 - as `dataclass` itself sets them
    return field  # type: ignore[no-any-return]
