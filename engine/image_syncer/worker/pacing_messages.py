"""What coordinator and worker say to each other about how often registries are asked, and how many bytes may move."""

from __future__ import annotations

from typing import TypeAlias

from image_syncer.values import Value

__all__ = [
    "AllowanceTold",
    "BytesGranted",
    "BytesWanted",
    "Metering",
    "Paced",
    "PacingMessage",
    "Refused",
    "RequestsGranted",
    "RequestsWanted",
    "Spoken",
]


class Spoken(Value, frozen=True, array_like=True, tag=True):
    """A message: on the socket an array of its name and its fields."""


class Refused(Spoken, frozen=True):
    """From a worker: `registry` answered 429, and asked to be left alone for `retry_after_s` (None: it did not say)."""

    registry: str
    retry_after_s: float | None


class AllowanceTold(Spoken, frozen=True):
    """From a worker: what `registry` said of its limits; see `image_syncer.registry.Allowance`."""

    registry: str
    limit: float | None
    window_s: float | None
    remaining: int | None
    reset_s: float | None


class Paced(Spoken, frozen=True):
    """To a worker: each request to `registry` takes a turn from now on, or none does any more."""

    registry: str
    paced: bool


class RequestsWanted(Spoken, frozen=True):
    """From a worker: so many requests more (or fewer) wait for a turn at `registry`."""

    registry: str
    turns: int


class RequestsGranted(Spoken, frozen=True):
    """To a worker: so many of them may go out now."""

    registry: str
    turns: int


class BytesWanted(Spoken, frozen=True):
    """From a worker: what may move from `registry` (where `sending`: to it) is used up, and more would."""

    registry: str
    sending: bool


class BytesGranted(Spoken, frozen=True):
    """To a worker: so many bytes more may move. From a worker: so many of them are not needed any more."""

    registry: str
    sending: bool
    size: int


class Metering(Spoken, frozen=True):
    """To a worker: bytes from and to `registry` (see `image_syncer.planning.metered`) need an allowance from now on.
    Blobs that are under way already end without.
    """

    registry: str


PacingMessage: TypeAlias = (
    Refused | AllowanceTold | Paced | RequestsWanted | RequestsGranted | BytesWanted | BytesGranted | Metering
)
